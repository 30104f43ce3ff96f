"""Faces: `portrait` beside `general`, and whether it is still the same person."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from benchmarks.bench import Bench, Floats, by_mode, has_mode, pixels, told
from benchmarks.damage import convolved, gaussian, jpeg, noisy, reduced
from benchmarks.faces import Face, cheeks, identity, largest
from benchmarks.filters import BICUBIC, LANCZOS, enlarged, resized
from benchmarks.measures import grey, psnr
from benchmarks.results import table
from darkroomd.guard import lab_from_srgb

TITLE = "Quality: portrait"
NETWORKS = ("portrait",)
SIDE = 512
# Gaussian blur in pixels, then reduced by, noise in levels, JPEG quality; back to size by cubic interpolation
STRENGTHS = {"light": (1.0, 1, 6.0, 80), "medium": (1.0, 2, 8.0, 65), "heavy": (1.2, 4, 8.0, 50)}
GLASSES = {"anissa-perez", "dave-methvin", "jiten-vaidya", "marvo-dolor", "neil-sharma", "robbie-holmes"}


@dataclass(frozen=True)
class Portrait:
    """A damaged portrait of one person, its truth, and where the face is in the truth."""

    name: str
    damaged: Floats
    truth: Floats
    face: Face


def portraits(bench: Bench, strength: str) -> Iterator[Portrait]:
    """face_gt, official portraits brought to 512 pixels; those in which dlib sees no face are left out."""
    blur, factor, sigma, quality = STRENGTHS[strength]
    for number, path in enumerate(bench.pictures("face_gt")):
        truth = np.clip(resized(pixels(path), (SIDE, SIDE), LANCZOS), 0, 1)
        face = largest(truth)
        if face is not None:
            soft = convolved(truth, gaussian(blur))
            small = jpeg(noisy(reduced(soft, factor), sigma, number), quality)
            yield Portrait(path.stem, np.clip(enlarged(small, factor, BICUBIC), 0, 1), truth, face)


def results(bench: Bench, damaged: Floats) -> dict[str, Floats]:
    found = {
        "input": damaged,
        "general": bench.answer("general", damaged),
        "portrait": bench.answer("portrait", damaged),
    }
    if has_mode("portrait"):
        found["mode"] = by_mode("portrait", damaged)[0]
    return {name: np.clip(picture, 0, 1) for name, picture in found.items()}


def face_mask(face: Face, wider: float) -> npt.NDArray[np.bool_]:
    left, top, right, bottom = face.box
    grow = (wider - 1) / 2 * (right - left)
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.asarray((x >= left - grow) & (x <= right + grow) & (y >= top - grow) & (y <= bottom + grow))


def skin(picture: Floats, truth: Floats, face: Face) -> float:
    """Energy of the cheeks' fine detail (0.08 to 0.35 cycles a pixel), as a share of the truth's: 1 is natural, 0 is
    porcelain, noise is above 1."""
    shares = []
    for left, top, side in cheeks(face):
        powers = []
        for one in (picture, truth):
            patch = grey(one[top : top + side, left : left + side])
            window = np.outer(np.hanning(side), np.hanning(side))
            spectrum = np.abs(np.fft.fft2((patch - patch.mean()) * window)) ** 2
            pitch = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
            powers.append(float(spectrum[(pitch >= 0.08) & (pitch <= 0.35)].sum()))
        shares.append(powers[0] / powers[1])
    return float(np.sqrt(np.median(shares)))


def tone(portrait: Portrait) -> str:
    """By the individual typology angle of the cheeks (Chardon 1991): light above 41°, dark below 10°."""
    patches = [portrait.truth[top : top + side, left : left + side] for left, top, side in cheeks(portrait.face)]
    lightness, _, yellow = np.median(np.concatenate([lab_from_srgb(p).reshape(-1, 3) for p in patches]), axis=0)
    angle = float(np.degrees(np.arctan2(lightness - 50, yellow)))
    return "light skin" if angle > 41 else "dark skin" if angle < 10 else "medium skin"


@dataclass(frozen=True)
class Judged:
    """One portrait's figures by result: face and background in dB, distance to the true person, skin."""

    portrait: str
    groups: tuple[str, ...]
    face: dict[str, float]
    background: dict[str, float]
    distance: dict[str, float]
    skin: dict[str, float]


def judged(bench: Bench, portrait: Portrait) -> Judged:
    truth, face = portrait.truth, portrait.face
    inside, outside = face_mask(face, 1.2), ~face_mask(face, 1.9)
    person = identity(truth, face)
    found = results(bench, portrait.damaged)
    return Judged(
        portrait.name,
        (tone(portrait), "glasses" if portrait.name in GLASSES else "no glasses"),
        {name: psnr(r, truth, inside) for name, r in found.items()},
        {name: psnr(r, truth, outside) for name, r in found.items()},
        {name: float(np.linalg.norm(identity(r, face) - person)) for name, r in found.items()},
        {name: skin(r, truth, face) for name, r in found.items()},
    )


@cache
def all_judged(bench: Bench) -> dict[str, list[Judged]]:
    return {strength: [judged(bench, p) for p in portraits(bench, strength)] for strength in STRENGTHS}


def mean(people: list[Judged], figure: str, name: str) -> float:
    return float(np.mean([getattr(one, figure)[name] for one in people]))


def nearer(people: list[Judged], name: str) -> float:
    """Percent of the people whose picture is nearer to themselves than the input was."""
    return 100 * float(np.mean([one.distance[name] < one.distance["input"] for one in people]))


def rows_of(strength: str, people: list[Judged]) -> list[list[str]]:
    rows = []
    for name in people[0].face:
        figures = [f"{mean(people, figure, name):.2f}" for figure in ("face", "background")]
        figures += [f"{mean(people, 'distance', name):.3f}", "" if name == "input" else f"{nearer(people, name):.0f} %"]
        rows.append(told([f"{strength}: {name}", *figures, f"{np.median([p.skin[name] for p in people]):.2f}"]))
    return rows


def groups_of(people: list[Judged]) -> list[list[str]]:
    rows = []
    for group in sorted({group for one in people for group in one.groups}):
        some = [one for one in people if group in one.groups]
        gain = mean(some, "face", "portrait") - mean(some, "face", "input")
        figures = [f"{mean(some, 'face', n):.2f}" for n in ("input", "portrait")]
        figures += [f"{gain:+.2f}", *(f"{mean(some, 'distance', n):.3f}" for n in ("input", "portrait"))]
        rows.append(told([f"{group} ({len(some)})", *figures, f"{nearer(some, 'portrait'):.0f} %"]))
    return rows


def section(bench: Bench) -> str:
    strengths = all_judged(bench)
    rows = [row for strength, people in strengths.items() for row in rows_of(strength, people)]
    groups = groups_of(strengths["medium"])
    made = "; ".join(
        f"{name}: Gaussian {blur:g} px, ÷{factor}, noise {sigma:g}, JPEG {quality}"
        for name, (blur, factor, sigma, quality) in STRENGTHS.items()
    )
    return (
        f"{len(strengths['medium'])} official portraits of {SIDE} × {SIDE} pixels ({made}; reduced ones brought back "
        "to size by cubic interpolation). Networks run over the whole picture; `mode` is what the product makes of the "
        "file. Face: PSNR within 1.2 boxes of the face; background: beyond 1.9. Distance: between dlib's descriptors "
        "of the result and of the truth, at the truth's landmarks (two pictures of one person: below 0.6); nearer: "
        "people whose distance became smaller than the input's. Skin: amplitude of the cheeks' fine detail as a share "
        "of the truth's, median; noise counts as detail, so the input's is above 1 where it is noisy.\n\n"
        + table(["damage: result", "face dB", "background dB", "distance", "nearer", "skin"], rows)
        + "\n\nThe medium damage by who is seen. Skin by the individual typology angle of the cheeks in this light; "
        "there are no labels of age, so it is left out.\n\n"
        + table(["who", "input face dB", "ours face dB", "gain", "input distance", "ours distance", "nearer"], groups)
    )

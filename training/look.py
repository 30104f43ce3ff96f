"""The network that looks: `python -m training.look --data FOLDER` trains it and writes models/look.onnx.

Tiles with a known history (blur, enlargement, noise, compression) and that history as the label. The first layers are
filters that are known to tell these things apart (block DCT, second differences, correlations of the slope); only what
their averages mean is learned, so that training takes minutes and a tile 1 ms. A first network that had to learn its
filters too was still at a loss of 2.3 after 1,800 steps and ten minutes.

Each of the four quantities is answered with its own uncertainty (a Laplace distribution), because a flat tile cannot
tell blur and a noisy one cannot tell compression: the product weighs tiles by it. A tile whose clean original was soft
already (bokeh) teaches nothing about blur, and its label is left out.
"""

import argparse
import hashlib
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
import yaml
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve
from torch import Tensor, nn

from training.data import pictures_of
from training.degrade import Patch, linear_from_srgb, rounded, srgb_from_linear
from training.export import OPSET, TOLERANCE
from training.train import HERE, rate_at, recipe_of

# what the network answers, in this order: means of the four quantities, their log scales, two logits
QUANTITIES = ("noise", "blur", "quality", "resolution")
LOGITS = ("motion", "grain", "enlarged")
ENLARGED = 0.5  # of the coded resolution: a sixth fewer pixels a side, or less
MARGIN = 16  # pixels around a tile while it is damaged, so that no border effect is learned; two JPEG blocks
SOFT_ORIGINAL = 0.66  # share of the steps that survives a box blur; a sharp photograph's edges have 0.58
FLAT_ORIGINAL = 1.2  # mean step of the luma in 8-bit levels


def coded(noise_sigma: float, blur_sigma: float, quality: float, resolution: float) -> list[float]:
    """Labels on scales of about 0..5: look.py in the product has the inverse."""
    return [np.log2(1 + noise_sigma / 2), min(blur_sigma, 5.0), quality / 20, -2 * np.log2(resolution)]


class Averages(nn.Module):
    """(n, 3, height, width) float 0..1 -> (n, FEATURES): fixed filters and their averages, mostly as logarithms.

    Height and width are multiples of 16. The tile begins where the picture's 8 × 8 grid does.
    """

    def __init__(self) -> None:
        super().__init__()
        k, x = np.mgrid[0:8, 0:8]
        basis = np.where(k == 0, np.sqrt(1 / 8), 0.5) * np.cos(np.pi * (2 * x + 1) * k / 16)
        dct = np.einsum("ax,by->abxy", basis, basis).reshape(64, 1, 8, 8)
        # R'G'B' and Y'CbCr in 8-bit levels
        colours = 255 * np.array(
            [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]]
        )
        second = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
        for name, value in {"dct": dct, "colours": colours.reshape(6, 3, 1, 1), "second": second[None, None]}.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        planes = nn.functional.conv2d(x, self.colours)
        luma = planes[:, 3:4]
        out = []
        # what compression leaves of each frequency: how strong, and how often nothing
        for plane in (luma, planes[:, 4:5]):
            size = nn.functional.conv2d(plane, self.dct, stride=8).abs()
            out += [_log(size.mean(dim=(2, 3))), torch.exp(-size.square()).mean(dim=(2, 3))]
            out += [torch.exp(-size.square() / 50).mean(dim=(2, 3))]
        # steps by their place on the grid of eight
        for step in (luma[..., 1:] - luma[..., :-1], (luma[..., 1:, :] - luma[..., :-1, :]).transpose(2, 3)):
            by_place = nn.functional.pad(step, (0, 1)).abs().mean(dim=2).reshape(x.shape[0], -1, 8)
            out.append(_log(by_place.mean(dim=1)))
        # noise: second differences, on average and in the quiet places, and how alike in the channels
        rough = nn.functional.conv2d(planes.reshape(-1, 1, x.shape[2], x.shape[3]), self.second)
        rough = rough.reshape(x.shape[0], 6, x.shape[2] - 2, x.shape[3] - 2)
        size = rough.abs()
        blocks = nn.functional.avg_pool2d(size, 14, 8)
        out += [_log(size.mean(dim=(2, 3))), _log(1 / (1 / (blocks + 0.05)).mean(dim=(2, 3)))]
        out.append(_log(-nn.functional.adaptive_max_pool2d(-blocks, 1).flatten(1)))
        power = rough.square().mean(dim=(2, 3)) + 0.01
        for a, b in ((0, 1), (1, 2), (0, 2), (3, 4), (4, 5)):
            out.append(((rough[:, a] * rough[:, b]).mean(dim=(1, 2)) / (power[:, a] * power[:, b]).sqrt())[:, None])
        # blur: how far the slope remembers itself, in four directions; and steps over longer distances
        across, down = luma[:, 0, :, 1:] - luma[:, 0, :, :-1], luma[:, 0, 1:] - luma[:, 0, :-1]
        for slope in (across, down):
            strength = slope.square().mean(dim=(1, 2)) + 0.01
            out += [_log(strength)[:, None], _log(slope.abs().mean(dim=(1, 2)))[:, None]]
            out.append(_log(slope.abs().amax(dim=(1, 2)))[:, None])
            for lag in (1, 2, 3, 4, 6, 9, 14):
                along = (slope[:, :, lag:] * slope[:, :, :-lag]).mean(dim=(1, 2))
                beside = (slope[:, lag:] * slope[:, :-lag]).mean(dim=(1, 2))
                falling = (slope[:, lag:, lag:] * slope[:, :-lag, :-lag]).mean(dim=(1, 2))
                rising = (slope[:, lag:, :-lag] * slope[:, :-lag, lag:]).mean(dim=(1, 2))
                out.append(torch.stack([along, beside, falling, rising], dim=1) / strength[:, None])
        for lag in (2, 4, 8):
            for far in (luma[..., lag:] - luma[..., :-lag], luma[..., lag:, :] - luma[..., :-lag, :]):
                out += [_log(far.abs().mean(dim=(2, 3))), _log(far.abs().amax(dim=(2, 3)))]
        # sharpness where the edges are: steps against steps over four pixels, in the best and the average place
        near = nn.functional.max_pool2d((luma[..., 1:] - luma[..., :-1]).abs()[..., :-3], 16, 16)
        wide = nn.functional.max_pool2d((luma[..., 4:] - luma[..., :-4]).abs(), 16, 16)
        share = near / (wide + 4)
        out += [share.mean(dim=(2, 3)), (share * wide).mean(dim=(2, 3)) / (wide.mean(dim=(2, 3)) + 1)]
        near = nn.functional.max_pool2d((luma[..., 1:, :] - luma[..., :-1, :]).abs()[..., :-3, :], 16, 16)
        wide = nn.functional.max_pool2d((luma[..., 4:, :] - luma[..., :-4, :]).abs(), 16, 16)
        share = near / (wide + 4)
        out += [share.mean(dim=(2, 3)), (share * wide).mean(dim=(2, 3)) / (wide.mean(dim=(2, 3)) + 1)]
        level = planes[:, :3].mean(dim=(2, 3))
        out += [level / 255, torch.exp(-planes[:, :3] / 3).mean(dim=(2, 3))]
        out.append(torch.exp((planes[:, :3] - 255) / 3).mean(dim=(2, 3)))
        return torch.cat(out, dim=1)


def _log(value: Tensor) -> Tensor:
    return torch.log2(value + 0.05)


class Look(nn.Module):
    """(n, 3, height, width) float 0..1 -> (n, 11): see QUANTITIES and LOGITS."""

    def __init__(self, features: int, hidden: list[int]) -> None:
        super().__init__()
        self.averages = Averages()
        self.register_buffer("middle", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        layers: list[nn.Module] = []
        before = features
        for width in hidden:
            layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(0.05)]
            before = width
        self.meaning = nn.Sequential(*layers, nn.Linear(before, 2 * len(QUANTITIES) + len(LOGITS)))

    def judged(self, averages: Tensor) -> Tensor:
        return self.meaning(((averages - self.middle) / self.spread).clamp(-5, 5))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.judged(self.averages(x))


def loss_of(answer: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Negative log likelihood of the quantities plus cross entropy of the logits; weight 0 leaves a label out."""
    n = len(QUANTITIES)
    mean, scale = answer[:, :n], answer[:, n : 2 * n].clamp(-4, 3)
    far = (mean - truth[:, :n]).abs() * torch.exp(-scale) + scale
    yes = nn.functional.binary_cross_entropy_with_logits(answer[:, 2 * n :], truth[:, n:], reduction="none")
    return (weight * torch.cat([far, yes], dim=1)).sum(dim=1).mean()


def softness_and_step(patch: Patch) -> tuple[float, float]:
    """As the core's `measure` defines them, of a 0..1 patch."""
    luma = 255 * patch @ np.array([0.299, 0.587, 0.114], np.float32)
    survives = total = 0.0
    count = 0
    for plane in (luma, luma.T):
        step = plane[:, 2:-1] - plane[:, 1:-2]
        blurred = (plane[:, 3:] - plane[:, :-3]) / 3
        survives += float(np.minimum(np.abs(step), np.abs(blurred)).sum())
        total += float(np.abs(step).sum())
        count += step.size
    return survives / max(total, 1e-6), total / count


def kernel_of(rng: np.random.Generator, shape: str, strongest: float) -> tuple[Patch, float]:
    """A point spread function and its Gaussian-equivalent sigma: the root of its mean variance along both axes."""
    reach = np.arange(-16, 17, dtype=np.float32)
    if shape == "disc":
        radius = rng.uniform(0.5, min(2 * strongest, 9.0))
        kernel = np.clip(radius + 0.5 - np.hypot(reach[:, None], reach), 0, 1)
    else:  # the path of a hand: straight, or slightly bent
        length, angle, bend = rng.uniform(2.5, 24.0), rng.uniform(0, np.pi), rng.uniform(-0.6, 0.6) * rng.integers(2)
        along = np.linspace(-0.5, 0.5, 96) * length
        turned = angle + bend * np.linspace(-1, 1, 96)
        x, y = np.cumsum(np.cos(turned)) * length / 96, np.cumsum(np.sin(turned)) * length / 96
        if bend == 0:
            x, y = np.cos(angle) * along, np.sin(angle) * along
        edges = np.arange(-16.5, 17.5)
        kernel = np.histogram2d(y - y.mean(), x - x.mean(), bins=(edges, edges))[0]
        kernel = gaussian_filter(kernel, 0.45)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    centre_y, centre_x = (kernel.sum(axis=1) * reach).sum(), (kernel.sum(axis=0) * reach).sum()
    variance = (kernel.sum(axis=1) * (reach - centre_y) ** 2).sum() + (
        kernel.sum(axis=0) * (reach - centre_x) ** 2
    ).sum()
    return kernel, float(np.sqrt(variance / 2))


def noise_of(patch: Patch, rng: np.random.Generator, sigma: float, kind: str) -> Patch:
    """Noise of the given standard deviation (8-bit levels, over the tile), before a file clips and rounds it."""
    shape = patch.shape
    if kind == "white":
        field = rng.standard_normal(shape, dtype=np.float32)
    elif kind == "luma":
        field = np.broadcast_to(rng.standard_normal((*shape[:2], 1), dtype=np.float32), shape)
    elif kind == "photon":
        share = rng.uniform(0.3, 1.0)
        light = linear_from_srgb(np.clip(patch, 0, 1))
        slope = 1 / np.maximum(2.2 * np.maximum(light, 0.01) ** (1.2 / 2.2), 0.15)
        field = np.sqrt(share * light / 0.18 + 1 - share) * slope * rng.standard_normal(shape, dtype=np.float32)
    elif kind == "grain":  # silver: the same in all channels, blotched, strongest in the middle tones
        blot = rng.uniform(0.45, 1.3)
        field = gaussian_filter(rng.standard_normal((*shape[:2], 1), dtype=np.float32), (blot, blot, 0), mode="wrap")
        tone = np.clip(patch.mean(axis=2, keepdims=True), 0, 1)
        field = np.broadcast_to(field * (0.4 + 2.4 * tone * (1 - tone)), shape)
    else:
        luma_blot, chroma_blot = rng.uniform(0.3, 1.0), rng.uniform(0.6, 2.2)
        luma = gaussian_filter(rng.standard_normal((*shape[:2], 1), dtype=np.float32), (luma_blot, luma_blot, 0))
        chroma = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (chroma_blot, chroma_blot, 0))
        chroma -= chroma.mean(axis=2, keepdims=True)
        field = luma / luma.std() + rng.uniform(0.2, 1.0) * chroma / chroma.std()
    field = field / max(float(np.sqrt(np.mean(np.square(field)))), 1e-6)
    return (patch + sigma / 255 * field).astype(np.float32)


def saved(patch: Patch, rng: np.random.Generator, quality: int, form: str = "JPEG") -> Patch:
    file = io.BytesIO()
    picture = Image.fromarray(np.clip(np.rint(patch * 255), 0, 255).astype(np.uint8))
    if form == "WEBP":
        picture.save(file, form, quality=quality, method=1)
    else:
        picture.save(file, form, quality=quality, subsampling=int(rng.choice([0, 2, 2])))
    return np.asarray(Image.open(file).convert("RGB"), dtype=np.float32) / 255.0


def picked(kinds: dict[str, float], rng: np.random.Generator) -> str:
    shares = np.array(list(kinds.values()))
    return str(rng.choice(list(kinds), p=shares / shares.sum()))


def history(
    clean: Patch, rng: np.random.Generator, damage: dict[str, Any], side: int
) -> tuple[Patch, list[float], list[float]]:
    """(damaged tile, labels, weights) from a clean patch with MARGIN around the tile."""
    softness, step = softness_and_step(clean)
    blur_told = float(step >= FLAT_ORIGINAL and softness <= SOFT_ORIGINAL)
    if rng.random() < damage["grey"]:
        clean = np.broadcast_to(clean.mean(axis=2, keepdims=True), clean.shape).astype(np.float32)
    patch, blur_variance, motion, grain, resolution, noise_sigma, quality = clean, 0.0, 0.0, 0.0, 1.0, 0.0, 100.0
    quality_told = 1.0
    if rng.random() < (blur := damage["blur"])["chance"]:
        shape = picked(blur["kinds"], rng)
        light = linear_from_srgb(patch)
        if shape == "gaussian":
            sigma = rng.uniform(*blur["sigma_px"])
            light = gaussian_filter(light, (sigma, sigma, 0), mode="reflect", truncate=3.0)
        else:
            kernel, sigma = kernel_of(rng, shape, blur["sigma_px"][1])
            light = fftconvolve(
                np.pad(light, ((16, 16), (16, 16), (0, 0)), mode="reflect"), kernel[:, :, None], mode="valid"
            )
            motion = float(shape == "motion" and sigma > 0.8)
        patch, blur_variance = srgb_from_linear(light.astype(np.float32)), sigma**2
    if rng.random() < (resize := damage["resize"])["chance"]:
        resolution = rng.uniform(*resize["factor"])
        height, width = patch.shape[:2]
        small = max(16, round(width * resolution)), max(16, round(height * resolution))
        resolution = small[0] / width
        picture = Image.fromarray(np.rint(np.clip(patch, 0, 1) * 255).astype(np.uint8))
        ways = [Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS]
        picture = picture.resize(small, ways[rng.integers(4)]).resize((width, height), ways[rng.integers(1, 4)])
        patch = np.asarray(picture, dtype=np.float32) / 255
        blur_variance += 0.45**2 * (resolution**-2 - 1)  # an enlarged picture is as soft as one with this blur
    if rng.random() < damage["sharpened"]:
        patch = patch + rng.uniform(0.2, 1.0) * (patch - gaussian_filter(patch, (1.0, 1.0, 0)))
    if rng.random() < (noise := damage["noise"])["chance"]:
        kind = rng.choice(
            list(noise["kinds"]), p=np.array(list(noise["kinds"].values())) / sum(noise["kinds"].values())
        )
        noise_sigma = rng.uniform(0, noise["low"] if rng.random() < 0.4 else noise["high"])
        grain = float(kind == "grain" and noise_sigma > 2)
        patch = noise_of(patch, rng, noise_sigma, kind)
    patch = rounded(patch)
    top = left = MARGIN
    if rng.random() < (compress := damage["compress"])["chance"]:
        # the product cuts its tiles on the grid of the file; a crop of a saved picture has its grid anywhere
        if rng.random() < compress["cropped"]:
            top, left = MARGIN - rng.integers(0, 8, 2)
        q = int(rng.integers(compress["jpeg_quality"][0], compress["jpeg_quality"][1] + 1))
        if rng.random() < compress["webp_chance"]:
            patch, quality_told = saved(patch, rng, q, "WEBP"), 0.0
        else:
            patch, quality = saved(patch, rng, q), float(q)
            if rng.random() < compress["twice"]:
                patch, top, left = saved(patch[top:, left:], rng, int(rng.integers(max(q, 50), 100))), 0, 0
    tile = patch[top : top + side, left : left + side]
    labels = [*coded(noise_sigma, float(np.sqrt(blur_variance)), quality, resolution), motion, grain]
    labels.append(float(labels[3] > ENLARGED))
    return (
        tile,
        labels,
        [1.0, blur_told, quality_told, blur_told, blur_told, float(noise_sigma == 0 or noise_sigma > 2), blur_told],
    )


class Tiles:
    """Clean crops of the sources, damaged on the fly; sample i of a seed is always the same sample."""

    def __init__(self, data: Path, recipe: dict[str, Any], held_out: bool = False) -> None:
        self.recipe = recipe
        self.sources: list[tuple[list[npt.NDArray[np.uint8]], tuple[float, float]]] = []
        for name, source in recipe["sources"].items():
            paths = pictures_of(data / name)
            kept = [p for n, p in enumerate(paths) if (n % 8 == 7) == held_out]
            self.sources.append(([np.asarray(Image.open(p).convert("RGB")) for p in kept], tuple(source["shrink"])))
        shares = np.array([source["share"] for source in recipe["sources"].values()])
        self.shares = shares / shares.sum()

    def sample(self, index: int) -> tuple[Patch, list[float], list[float]]:
        rng = np.random.default_rng((self.recipe["seed"], index))
        pictures, shrink = self.sources[rng.choice(len(self.sources), p=self.shares)]
        whole = self.recipe["tile"] + 2 * MARGIN
        for _ in range(4):  # flat crops are rare in a photograph's tiles that the product samples, and teach little
            picture = pictures[rng.integers(len(pictures))]
            scale = max(rng.uniform(*shrink), (whole + 1) / min(picture.shape[:2]))
            reach = min(round(whole / scale), *picture.shape[:2])
            top = rng.integers(0, picture.shape[0] - reach + 1)
            left = rng.integers(0, picture.shape[1] - reach + 1)
            crop = picture[top : top + reach, left : left + reach]
            if crop[::4, ::4].std() > 12 or rng.random() < 0.15:
                break
        if reach != whole:
            way = Image.Resampling.BOX if reach > 1.9 * whole else Image.Resampling.LANCZOS
            crop = np.asarray(Image.fromarray(crop).resize((whole, whole), way))
        if rng.random() < 0.5:
            crop = crop[:, ::-1]
        clean = np.ascontiguousarray(np.rot90(crop, rng.integers(4)), dtype=np.float32) / np.float32(255)
        return history(clean, rng, self.recipe["damage"], self.recipe["tile"])

    def batch(self, first: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        tiles, labels, weights = zip(*(self.sample(first + i) for i in range(count)), strict=True)
        stacked = np.ascontiguousarray(np.stack(tiles).transpose(0, 3, 1, 2))
        return torch.from_numpy(stacked), torch.tensor(labels, dtype=torch.float32), torch.tensor(weights)


def gathered(data: Path, runs: Path, count: int, held_out: bool) -> dict[str, Tensor]:
    """Averages, labels and weights of `count` tiles; kept in runs/look/ and gone on with."""
    name = "held.pt" if held_out else "tiles.pt"
    path = runs / "look" / name
    known = torch.load(path, weights_only=True) if path.exists() else None
    have = 0 if known is None else len(known["truth"])
    if known is not None and have >= count:
        return {key: value[:count] for key, value in known.items()}
    tiles, averages = Tiles(data, recipe_of("look"), held_out), Averages()
    saved_at = time.monotonic()
    for first in range(have, count, 64):
        pictures, truth, weight = tiles.batch((10**8 if held_out else 0) + first, 64)
        with torch.no_grad():
            new = {"averages": averages(pictures), "truth": truth, "weight": weight}
        known = new if known is None else {key: torch.cat([known[key], new[key]]) for key in new}
        if time.monotonic() - saved_at > 60 or first + 64 >= count:
            torch.save(known, path.with_suffix(".tmp"))
            path.with_suffix(".tmp").replace(path)
            saved_at = time.monotonic()
            print(f"{name}: {len(known['truth'])} tiles", flush=True)
    assert known is not None
    return known


@torch.no_grad()
def judged(net: Look, held: dict[str, Tensor]) -> str:
    """Median error of each quantity per single tile, and the share of right yes-or-no answers."""
    answers = net.eval().judged(held["averages"])
    n = len(QUANTITIES)
    out = [f"held-out loss {loss_of(answers, held['truth'], held['weight']):.3f}"]
    for i, name in enumerate(QUANTITIES):
        told = held["weight"][:, i] > 0
        out.append(f"{name} {(answers[told, i] - held['truth'][told, i]).abs().median():.3f}")
    for i, name in enumerate(LOGITS):
        told = held["weight"][:, n + i] > 0
        right = (answers[told, 2 * n + i] > 0) == (held["truth"][told, n + i] > 0.5)
        out.append(f"{name} {right.float().mean():.3f}")
    return "  ".join(out)


def train(data: Path, runs: Path, only: int | None = None) -> Look:
    """Gather the recipe's tiles (or as many as `only`), then learn what their averages mean."""
    recipe = recipe_of("look")
    torch.set_num_threads(1)
    torch.manual_seed(recipe["seed"])
    (runs / "look").mkdir(parents=True, exist_ok=True)
    held = gathered(data, runs, 1024, held_out=True)
    known = gathered(data, runs, only or recipe["tiles"], held_out=False)
    count = len(known["truth"])
    net = Look(known["averages"].shape[1], **recipe["network"])
    net.middle.copy_(known["averages"].mean(dim=0))
    net.spread.copy_(known["averages"].std(dim=0).clamp(min=1e-3))
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe["rate"], weight_decay=0.02)
    steps = dict(recipe, steps=recipe["passes"] * (count // recipe["batch"]))
    average = {name: value.detach().clone() for name, value in net.state_dict().items()}
    judge = Look(known["averages"].shape[1], **recipe["network"])
    step = 0
    for turn in range(recipe["passes"]):
        net.train()
        for chosen in torch.randperm(count)[: count // recipe["batch"] * recipe["batch"]].split(recipe["batch"]):
            for group in optimiser.param_groups:
                group["lr"] = rate_at(step, steps)
            loss = loss_of(net.judged(known["averages"][chosen]), known["truth"][chosen], known["weight"][chosen])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 2.0)
            optimiser.step()
            step += 1
            blend = min(recipe["ema"], (1 + step) / (10 + step))
            with torch.no_grad():
                for key, value in net.state_dict().items():
                    average[key].lerp_(value, 1 - blend)
        if turn % 5 == 4:
            judge.load_state_dict(average)
            print(f"pass {turn + 1}  loss {float(loss.detach()):.3f}  {judged(judge, held)}", flush=True)
    torch.save(average, runs / "look" / "last.pt")
    return judge.eval()


def export(net: Look, to: Path) -> None:
    """models/look.onnx for any number of tiles of any size; prints what belongs on the card."""
    recipe = recipe_of("look")
    path = to / "look.onnx"
    free = {0: "tiles", 2: "height", 3: "width"}
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, 128, 128),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=["picture"],
        output_names=["seen"],
        dynamic_axes={"picture": free, "seen": {0: "tiles"}},
    )
    probe = np.random.default_rng(0).random((3, 3, 128, 160), dtype=np.float32)
    with torch.no_grad():
        truth = net(torch.from_numpy(probe)).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    difference = float(np.abs(session.run(None, {"picture": probe})[0] - truth).max())
    if difference > 10 * TOLERANCE:
        raise SystemExit(f"{path} differs from PyTorch by {difference:.2e}: not to be shipped")
    facts = {
        "file": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "recipe_sha256": hashlib.sha256(yaml.safe_dump(recipe, sort_keys=True).encode()).hexdigest(),
        "parameters": sum(p.numel() for p in net.parameters()),
        "difference_from_pytorch": float(f"{difference:.1e}"),
        "bytes": path.stat().st_size,
    }
    print(yaml.safe_dump(facts, sort_keys=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of training pictures (photo/, face/, text/)")
    parser.add_argument(
        "--runs", type=Path, default=HERE / "runs", help="tiles that were gathered (default: training/runs)"
    )
    parser.add_argument("--to", type=Path, default=HERE.parent / "models", help="folder for look.onnx")
    parser.add_argument("--only", type=int, help="learn from so many tiles instead of the recipe's number")
    given = parser.parse_args()
    export(train(given.data, given.runs, given.only), given.to)


if __name__ == "__main__":
    main()

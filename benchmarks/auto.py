"""What mode auto does where little is wrong: `python -m benchmarks.auto [--data FOLDER]`.

Clean photographs, photographs of which a part is noisy, film grain, backgrounds that are soft on purpose; through the
product's own pipeline. Rewrites its section of RESULTS.md.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.bench import Floats, by_mode, codes
from benchmarks.guards import blurred, image_of, photographs, saved, with_noise
from benchmarks.measures import psnr
from benchmarks.quality import DATA
from benchmarks.results import machine, rewrite, table

CLEAN = ("photo_gt", "cbsd68", "set14")
PORTRAITS = "face_gt"
CLOSE_DB = 45  # nearer than this nobody sees a difference


def floats(pixels: np.ndarray) -> Floats:
    return pixels.astype(np.float32) / np.float32(255)


def grainy(photo: np.ndarray, sigma: float = 8.0) -> np.ndarray:
    """Film grain: the same in all channels, as wide as 0.8 pixels, strongest in the middle tones."""
    noise = np.random.default_rng(0).normal(0, 1, photo.shape[:2])
    kernel = np.exp(-0.5 * (np.arange(-3, 4) / 0.8) ** 2)
    for axis in (0, 1):
        noise = np.apply_along_axis(np.convolve, axis, noise, kernel / kernel.sum(), mode="same")
    tone = photo[..., 1:2] / 255
    silver = photo + sigma * (noise / noise.std())[..., None] * (0.4 + 2.4 * tone * (1 - tone))
    return np.asarray(np.clip(np.rint(silver), 0, 255), np.uint8)


def as_saved(folder: Path, count: int) -> Iterator[np.ndarray]:
    for photo in photographs(folder, count):
        half = image_of(photo).shrink(2, 2).numpy()
        yield saved(with_noise(half, 1.0), 92)


def rough(picture: Floats) -> float:
    """Mean slope from pixel to pixel, 8-bit levels."""
    return 255 * float(np.abs(np.diff(picture, axis=1)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", default="photo_gt,cbsd68", help="folders of sharp photographs below --data")
    parser.add_argument("--count", type=int, default=40, help="clean photographs of each set")
    parser.add_argument("--damaged", type=int, default=3, help="photographs of each set that are damaged")
    given = parser.parse_args()
    folders = [given.data / name for name in given.sets.split(",")]
    rows, every, never_compressed = [], [], []
    saved_ones = (p for name in (CLEAN[0], PORTRAITS) for p in as_saved(given.data / name, given.count))
    originals = {name: photographs(given.data / name, given.count) for name in CLEAN}
    for name, photos in (*originals.items(), ("as cameras save them", saved_ones)):
        alone, close = [], []
        for photo in photos:
            truth = floats(photo)
            result, verdict = by_mode("auto", truth)
            alone.append(verdict.status == "unchanged")
            close.append(psnr(result, truth) >= CLOSE_DB)
            if not close[-1]:
                print(f"{psnr(result, truth):.1f} dB", [step.reason for step in verdict.steps], flush=True)
        every += close
        never_compressed += close if name != "cbsd68" else []
        rows.append([f"clean, {name} ({len(close)}): left alone", f"{100 * np.mean(alone):.0f} %", ""])
        rows.append([f"clean, {name}: left alone, or within {CLOSE_DB} dB", f"{100 * np.mean(close):.0f} %", ""])
        print(rows[-2:], flush=True)
    for which, those in (("these without cbsd68", never_compressed), ("all of these", every)):
        share = f"{100 * np.mean(those):.0f} %"
        rows.append([f"{which} ({len(those)}): left alone, or within {CLOSE_DB} dB", share, "95 %"])
    gain, kept, film, soft, edges = [], [], [], [], []
    seconds = {"auto": 0.0, "general": 0.0}
    for photo in (p for folder in folders for p in photographs(folder, given.damaged)):
        half = slice(0, photo.shape[1] // 2)
        clean, noisy = slice(photo.shape[1] // 2 + 64, None), photo.copy()
        noisy[:, half] = with_noise(photo, 15)[:, half]
        truth, before = floats(photo), floats(noisy)
        after, _ = by_mode("auto", before)
        gain.append(psnr(after[:, half], truth[:, half]) - psnr(before[:, half], truth[:, half]))
        kept.append(psnr(after[:, clean], truth[:, clean]))
        grain = floats(grainy(photo))
        after, _ = by_mode("auto", grain)
        film.append(rough(after) / rough(grain))
        bokeh = blurred(photo, 1.8)
        bokeh[:, half] = blurred(photo, 7.0)[:, half]
        before = floats(codes(floats(bokeh)))
        after, _ = by_mode("auto", before)
        soft.append(rough(after[:, : half.stop - 64]) / rough(before[:, : half.stop - 64]))
        edges.append(rough(after[:, clean]) / rough(before[:, clean]))
        for mode in seconds:
            began = time.perf_counter()
            by_mode(mode, truth)
            seconds[mode] += time.perf_counter() - began
        print(gain[-1], kept[-1], film[-1], soft[-1], edges[-1], seconds, flush=True)
    rows += [
        ["half of it noisy (sigma 15): gain there", f"{np.mean(gain):+.1f} dB", ""],
        ["half of it noisy: the other half, against the original", f"{np.mean(kept):.1f} dB", ""],
        ["film grain of sigma 8: roughness left", f"{100 * np.mean(film):.0f} %", ""],
        ["soft background (7 pixels) beside a softness of 1.8: background steeper by", f"{np.mean(soft):.2f}", ""],
        ["the same: what is to be sharp steeper by", f"{np.mean(edges):.2f}", ""],
        [
            "seconds for a clean photograph, of those in mode general",
            f"{100 * seconds['auto'] / seconds['general']:.0f} %",
            "",
        ],
    ]
    text = (
        f"{machine()}. Clean photographs, and {len(gain)} damaged ones, as PNG files through the product. Of set14's "
        "originals baboon and pepper are scans with noise of sigma 10 and 5, which is taken out, and coastguard is a "
        "frame of a compressed film; cbsd68 was compressed once. As cameras save them: photographs reduced to half, "
        "with noise of sigma 1, saved as JPEG 92. Roughness and steepness: mean slope from pixel to pixel. The seconds "
        "are of both modes in turns, with looking, checking and writing.\n\n"
    )
    rewrite("Auto", text + table(["photograph", "measured", "asked"], rows))


if __name__ == "__main__":
    main()

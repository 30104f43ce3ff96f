"""What the networks do to pictures whose truth is known: `python -m benchmarks.quality [--data FOLDER]`.

Input | classic filter | ours, on public test sets that no network has trained on. The classic filter is told the true
noise level, which ours is not. PSNR over all pixels and channels; SSIM as scikit-image computes it with a Gaussian
window of sigma 1.5 and population covariance, mean over channels. Rewrites its section of RESULTS.md.
"""

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_nl_means

from benchmarks.results import machine, rewrite, table
from darkroomd.device import network
from darkroomd.enhance import through
from darkroomd.job import Engine

Floats = npt.NDArray[np.float32]
DATA = Path(__file__).parents[2] / "shared" / "data" / "test"


@dataclass(frozen=True)
class Pair:
    """A damaged picture and its truth, float32 (height, width, 3), 0..1. sigma: what the filter is told, 8-bit."""

    damaged: Floats
    truth: Floats
    sigma: float


def pixels(path: Path) -> Floats:
    return np.ascontiguousarray(pyvips.Image.new_from_file(str(path))[:3].numpy(), dtype=np.float32) / np.float32(255)


def pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".bmp", ".webp", ".tif"})


def noisy(folder: Path, sigma: float, as_file: bool) -> Iterator[Pair]:
    """Independent Gaussian noise: as an 8-bit file holds it (clipped, rounded), or as the published figures have it."""
    for number, path in enumerate(pictures(folder)):
        truth = pixels(path)
        noise = np.random.default_rng((number, int(sigma))).standard_normal(truth.shape, dtype=np.float32)
        damaged = truth + noise * np.float32(sigma / 255)
        if as_file:
            damaged = (np.clip(np.rint(damaged * 255), 0, 255) / 255).astype(np.float32)
        yield Pair(damaged, truth, sigma)


def compressed(folder: Path, quality: int) -> Iterator[Pair]:
    """libjpeg with 4:2:0 chroma, as the published figures have it."""
    for path in pictures(folder):
        image = pyvips.Image.new_from_file(str(path))[:3]
        saved = pyvips.Image.new_from_buffer(image.jpegsave_buffer(Q=quality, subsample_mode="on"), "")
        damaged, truth = (np.ascontiguousarray(i.numpy(), dtype=np.float32) / np.float32(255) for i in (saved, image))
        yield Pair(damaged, truth, 255 * float((damaged - truth).std()))


def real_pairs(folder: Path) -> Iterator[Pair]:
    """One exposure of a camera, and the mean of many of the same scene."""
    for path in pictures(folder):
        if "_real" in path.name:
            damaged, truth = pixels(path), pixels(path.with_name(path.name.replace("_real", "_mean")))
            yield Pair(damaged, truth, 255 * float((damaged - truth).std()))


def clean(folder: Path) -> Iterator[Pair]:
    """Nothing to mend: what the network changes is harm."""
    for path in pictures(folder):
        truth = pixels(path)
        yield Pair(truth, truth, 0.5)


def non_local_means(pair: Pair) -> Floats:
    sigma = pair.sigma / 255
    return np.asarray(
        denoise_nl_means(
            pair.damaged, h=0.8 * sigma, sigma=sigma, fast_mode=True, patch_size=5, patch_distance=6, channel_axis=2
        ),
        dtype=np.float32,
    )


def ours(pair: Pair) -> Floats:
    return np.asarray(
        through(network("general", Engine()), np.ascontiguousarray(pair.damaged), Engine()), dtype=np.float32
    )


def psnr(a: Floats, b: Floats) -> float:
    return float(10 * np.log10(1 / max(1e-10, float(np.mean((np.clip(a, 0, 1) - b) ** 2, dtype=np.float64)))))


def ssim(a: Floats, b: Floats) -> float:
    return float(
        structural_similarity(
            np.clip(a, 0, 1),
            b,
            channel_axis=2,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
    )


def judged(pair: Pair) -> list[float]:
    """PSNR of input, classic, ours; then SSIM of the same."""
    results = (pair.damaged, non_local_means(pair), ours(pair))
    return [psnr(r, pair.truth) for r in results] + [ssim(r, pair.truth) for r in results]


def row(name: str, pairs: Iterator[Pair], reference: str, judge: Callable[[Pair], list[float]] = judged) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        figures = np.mean(list(pool.map(judge, pairs)), axis=0)
    line = [name, *(f"{value:.2f}" for value in figures[:3]), *(f"{value:.3f}" for value in figures[3:]), reference]
    print(" | ".join(line), flush=True)
    return line


REFERENCES = {
    "sigma 15": "33.89 CDnCNN-B, 33.87 FFDNet, 34.30 DRUNet",
    "sigma 25": "31.23 CDnCNN-B, 31.21 FFDNet, 31.69 DRUNet",
    "sigma 50": "27.92 CDnCNN-B, 27.96 FFDNet, 28.51 DRUNet",
    "JPEG 10": "27.62 QGAC, 27.77 FBCNN",
    "JPEG 20": "29.88 QGAC, 30.11 FBCNN",
    "JPEG 30": "31.17 QGAC, 31.43 FBCNN",
    "JPEG 40": "32.05 QGAC, 32.34 FBCNN",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with cbsd68/, live1/, noise_pairs/, photo_gt/")
    data = parser.parse_args().data
    if not data.is_dir():
        raise SystemExit(f"{data} is not there: name the folder of test sets with --data")
    rows = [row(f"CBSD68, sigma {s}, 8-bit files", noisy(data / "cbsd68", s, as_file=True), "") for s in (15, 25, 50)]
    rows += [
        row(f"CBSD68, sigma {s}, not clipped", noisy(data / "cbsd68", s, as_file=False), REFERENCES[f"sigma {s}"])
        for s in (15, 25, 50)
    ]
    rows += [row(f"LIVE1, JPEG {q}", compressed(data / "live1", q), REFERENCES[f"JPEG {q}"]) for q in (10, 20, 30, 40)]
    rows.append(row("real noise, camera pairs", real_pairs(data / "noise_pairs"), ""))
    rows.append(row("clean photographs", clean(data / "photo_gt"), "harm: the higher the better"))
    head = ["set", "input dB", "NLM dB", "ours dB", "input SSIM", "NLM SSIM", "ours SSIM", "published, dB"]
    rewrite(
        "Quality: general",
        f"{machine()}. One blind network for all rows; its digest is on its card. NLM: non-local means, told the true "
        "noise level. The product is given files, so the network has learned noise that is clipped at black and white "
        "and rounded; the rows without clipping are there beside the published figures, which come from networks of "
        "several times the arithmetic, made for noise alone or JPEG alone. LIVE1 is compressed in colour with 4:2:0 "
        "chroma.\n\n" + table(head, rows),
    )


if __name__ == "__main__":
    main()

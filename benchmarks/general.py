"""Noise and compression: `general` on the field's sets, beside non-local means that is told the true noise."""

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.bench import Bench, Floats, means, pixels, told
from benchmarks.damage import jpeg, noisy
from benchmarks.filters import non_local_means
from benchmarks.measures import psnr, ssim
from benchmarks.results import table

TITLE = "Quality: general"
NETWORKS = ("general",)

REFERENCES = {
    "sigma 15": "33.89 CDnCNN-B, 33.87 FFDNet, 34.30 DRUNet",
    "sigma 25": "31.23 CDnCNN-B, 31.21 FFDNet, 31.69 DRUNet",
    "sigma 50": "27.92 CDnCNN-B, 27.96 FFDNet, 28.51 DRUNet",
    "JPEG 10": "27.62 QGAC, 27.77 FBCNN",
    "JPEG 20": "29.88 QGAC, 30.11 FBCNN",
    "JPEG 30": "31.17 QGAC, 31.43 FBCNN",
    "JPEG 40": "32.05 QGAC, 32.34 FBCNN",
}


@dataclass(frozen=True)
class Pair:
    """A damaged picture and its truth. sigma: what the filter is told, 8-bit levels."""

    damaged: Floats
    truth: Floats
    sigma: float


def noise(bench: Bench, sigma: float, as_file: bool) -> Iterator[Pair]:
    for number, path in enumerate(bench.pictures("cbsd68")):
        truth = pixels(path)
        yield Pair(noisy(truth, sigma, number * bench.every, as_file), truth, sigma)


def compressed(bench: Bench, quality: int, cut: tuple[int, int] = (0, 0)) -> Iterator[Pair]:
    """cut: rows and columns taken off above and left after the save, so that no block begins at the corner."""
    for path in bench.pictures("live1"):
        truth = pixels(path)
        damaged, truth = (p[cut[0] :, cut[1] :] for p in (jpeg(truth, quality), truth))
        yield Pair(damaged, truth, 255 * float((damaged - truth).std()))


def real_pairs(bench: Bench) -> Iterator[Pair]:
    """One exposure of a camera, and the mean of many of the same scene."""
    for path in (p for p in Bench(bench.data, bench.models).pictures("noise_pairs") if "_real" in p.name):
        damaged, truth = pixels(path), pixels(path.with_name(path.name.replace("_real", "_mean")))
        yield Pair(damaged, truth, 255 * float((damaged - truth).std()))


def clean(bench: Bench) -> Iterator[Pair]:
    """Nothing to mend: what the network changes is harm."""
    for path in bench.pictures("photo_gt"):
        truth = pixels(path)
        yield Pair(truth, truth, 0.5)


def row(bench: Bench, name: str, pairs: Iterator[Pair], reference: str = "", filtered: bool = True) -> list[str]:
    """filtered: whether the classic filter is tried as well, which takes most of the time."""

    def judge(pair: Pair) -> list[float]:
        known = non_local_means(pair.damaged, pair.sigma) if filtered else pair.damaged
        results = (pair.damaged, known, bench.answer("general", pair.damaged))
        return [psnr(r, pair.truth) for r in results] + [ssim(r, pair.truth) for r in results]

    figures = means(judge, pairs)
    cells = [*(f"{v:.2f}" for v in figures[:3]), *(f"{v:.3f}" for v in figures[3:])]
    if not filtered:
        cells[1] = cells[4] = ""
    return told([name, *cells, reference])


def section(bench: Bench) -> str:
    rows = [row(bench, f"CBSD68, sigma {s}, 8-bit files", noise(bench, s, as_file=True)) for s in (15, 25, 50)]
    rows += [
        row(bench, f"CBSD68, sigma {s}, not clipped", noise(bench, s, as_file=False), REFERENCES[f"sigma {s}"], False)
        for s in (15, 25, 50)
    ]
    rows += [row(bench, f"LIVE1, JPEG {q}", compressed(bench, q), REFERENCES[f"JPEG {q}"]) for q in (10, 20, 30, 40)]
    rows.append(row(bench, "LIVE1, JPEG 10, then cropped", compressed(bench, 10, (3, 5)), filtered=False))
    rows.append(row(bench, "real noise, camera pairs", real_pairs(bench)))
    rows.append(row(bench, "clean photographs", clean(bench), "harm: the higher the better"))
    head = ["set", "input dB", "NLM dB", "ours dB", "input SSIM", "NLM SSIM", "ours SSIM", "published, dB"]
    return (
        "One blind network for all rows; its digest is on its card. NLM: non-local means, told the true "
        "noise level. The product is given files, so the network has learned noise that is clipped at black and white "
        "and rounded; the rows without clipping are there beside the published figures, which come from networks of "
        "several times the arithmetic, made for noise alone or JPEG alone. LIVE1 is compressed in colour with 4:2:0 "
        "chroma.\n\n" + table(head, rows)
    )

"""The numbers behind content.py: `python -m training.fit_content --data FOLDER`, where the product runs.

What tells a landscape from another photograph is a logistic regression over content.layout, fitted on training
photographs that were labelled by eye (views of land, water, sky, and of towns from afar; what may be called either is
left out), and checked on the tenth of them that it was not fitted on, in turn. Prints the constants, and how the rules
before it do on portraits of the training set.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyvips

from darkroomd.content import content, layout, shown
from darkroomd.device import detector
from darkroomd.faces import faces
from darkroomd.job import Engine

# by the first six digits of the SHA-256 of a file's name without its ending
LANDSCAPES = {
    "photo/cid22": (
        "38fd16 3bbb86 b7d467 e80b3c cf1b27 e46885 e0ce65 527ff1 40cb0c 513579 bd47be 91761f 7cc492 73d09d "
        "b671da 1a6341 9da83c 16fa68 78f14b 94b812 32e309 ca7a3a b6b85a 0b967b 592034 a2e70a a13bff fe2062 "
        "35144e 8c35d0 451d4e 4957f0 bd5179 9829fc "
    ),
    "photo/clic2k": ("8ab1b3 79c10c "),
    "photo/wallpapers": (
        "b63dae 8ba8d2 3a043d 05058a 942183 1d8ece f8d3d6 ee47a2 68693d 26cfc7 1b037c 348df0 25e427 1d422f "
        "89cf2b 71bd22 514c8e 29bac4 3d6eca cea525 de2e10 d3b761 9f95e8 fc59dd d711d0 6ced92 2a36da 1a721a "
        "fa0c32 025958 "
    ),
}
EITHER = {
    "photo/cid22": (
        "4eaac7 36265a e4442c d5bc69 c13a50 b17f41 b7d784 190db6 9b7359 dec789 109815 c51826 8106ac ebee31 "
        "e5e5fd d1e110 2734ef 2044a6 999664 331429 b4be1c 7e5811 f5779f c17232 edb73a 429329 64aff1 69cbe5 "
        "db9e65 2be009 83a870 790ac3 "
    ),
    "photo/clic2k": ("f84bed b833bc 0e3486 a08879 d1fa9a "),
    "photo/wallpapers": (
        "f0a604 ee8628 12f8d3 9253eb 2cd9f5 7bf165 89c622 271202 911eca f275bf 02a74e a4d4fd 88cbcd cc38d8 "
        "e7edbb f928a1 e57d99 b13423 721ae4 "
    ),
}
PENALTY = 3.0
BIAS = -0.5  # a landscape that is called a photo is the lesser fault

Numbers = npt.NDArray[np.float64]


def read(path: Path) -> npt.NDArray[np.uint8]:
    image = pyvips.Image.thumbnail(str(path), 512)
    image = image.flatten(background=255) if image.hasalpha() else image
    return np.ascontiguousarray(image.colourspace("srgb").numpy()[..., :3])


def fitted(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """(mean, spread, weights and bias) of a logistic regression in which both kinds count alike; by Newton's steps."""
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    known = np.c_[(x - mean) / spread, np.ones(len(x))]
    weights, penalty = np.zeros(known.shape[1]), PENALTY * np.eye(known.shape[1])
    penalty[-1, -1] = 0
    count = np.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    for _ in range(30):
        told = 1 / (1 + np.exp(-known @ weights))
        slope = known.T @ (count * (told - y)) + penalty @ weights
        weights -= np.linalg.solve((known.T * (count * told * (1 - told))) @ known + penalty, slope)
    return mean, spread, weights


def answers(x: Numbers, fit: tuple[Numbers, Numbers, Numbers]) -> Numbers:
    mean, spread, weights = fit
    return np.asarray(np.c_[(x - mean) / spread, np.ones(len(x))] @ weights + BIAS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=24, help="portraits to try the rules on")
    given = parser.parse_args()
    rows, labels = [], []
    for folder, landscapes in LANDSCAPES.items():
        for path in sorted((given.data / folder).iterdir()):
            start = hashlib.sha256(path.stem.encode()).hexdigest()[:6]
            if start in EITHER[folder].split():
                continue
            rows.append(layout(read(path)))
            labels.append(start in landscapes.split())
    x, y = np.array(rows, np.float64), np.array(labels, np.float64)
    part = np.random.default_rng(0).permutation(len(y)) % 10
    told = np.zeros(len(y))
    for one in range(10):
        told[part == one] = answers(x[part == one], fitted(x[part != one], y[part != one]))
    print(
        f"{len(y)} photographs, {int(y.sum())} landscapes; right on those held out {np.mean((told > 0) == (y > 0)):.3f}"
    )
    mean, spread, weights = fitted(x, y)
    for m, s, w in zip(mean, spread, weights[:-1], strict=True):
        print(f"    ({m:.4f}, {s:.4f}, {w:.3f}),")
    print(f"LANDSCAPE_BIAS = {weights[-1] + BIAS:.3f}")
    network = detector("faces", Engine())
    paths = sorted((given.data / "face" / "gov_headshots").iterdir())
    if network is not None:
        for path in paths[:: max(1, len(paths) // given.faces)]:
            pixels = read(path)
            print(content(shown(pixels, faces(pixels, network), ())), path.name)


if __name__ == "__main__":
    main()

"""Patches for training: pictures are decoded once and kept in memory as uint8 (about 1 GB), then
cropped, shrunk, turned, and damaged on the fly. Sample i of a seed is always the same sample."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from training.degrade import Patch, damaged, toned

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
HERE = Path(__file__).parent


def source_folder(data: Path, name: str) -> Path:
    """Where a recipe's source lies: in the folder of training data, or (runs/…) among what training made itself."""
    return HERE / name if name.startswith("runs/") else data / name


def pictures_of(folder: Path) -> list[Path]:
    """The folder's pictures in the order of their names; loud when there are none."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no pictures in {folder}: name the folder of training data with --data")
    return found


def overlays_of(data: Path, recipe: dict[str, Any]) -> list[npt.NDArray[np.uint8]]:
    """The recipe's shapes of damage (alpha of the pictures), less every `held_back`-th by name, which judging uses."""
    if "overlays" not in recipe:
        return []
    paths = pictures_of(data / recipe["overlays"]["folder"])
    kept = [path for number, path in enumerate(paths) if number % recipe["overlays"]["held_back"]]
    return [np.asarray(Image.open(path).convert("RGBA"))[..., 3] for path in kept]


class Patches(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """(damaged, clean) pairs, float32 CHW in 0..1; the clean one has the side `recipe["patch"]`."""

    def __init__(self, data: Path, recipe: dict[str, Any], length: int, first: int = 0) -> None:
        self.recipe, self.length, self.first = recipe, length, first
        self.sources: list[tuple[list[npt.NDArray[np.uint8]], tuple[float, float]]] = []
        for name, source in recipe["sources"].items():
            paths = pictures_of(source_folder(data, name))
            kept = paths[: len(paths) - recipe["held_out"].get(name, 0)]
            self.sources.append(([np.asarray(Image.open(p).convert("RGB")) for p in kept], tuple(source["shrink"])))
        shares = np.array([source["share"] for source in recipe["sources"].values()])
        self.shares = shares / shares.sum()
        self.overlays = overlays_of(data, recipe)
        # a big picture is worth more patches than a small one, but not in proportion
        self.weights = [self._weights(pictures) for pictures, _ in self.sources]

    @staticmethod
    def _weights(pictures: list[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float64]:
        weights = np.array([np.sqrt(p.shape[0] * p.shape[1]) for p in pictures])
        return weights / weights.sum()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.recipe["seed"], self.first + index))
        clean = self._clean_patch(rng)
        if "tone" in self.recipe:  # an old print keeps its tone: it is in the truth as well
            clean = toned(clean, rng, self.recipe["tone"], self.recipe.get("hard"))
        dirty = damaged(clean, rng, self._damage(index), self.overlays)
        return tuple(torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1))) for p in (dirty, clean))  # type: ignore[return-value]

    def _damage(self, index: int) -> dict[str, Any]:
        later = self.recipe.get("later")
        changed = later is not None and self.first + index >= later["from_step"] * self.recipe["batch"]
        return dict((later if changed else self.recipe)["damage"])

    def _clean_patch(self, rng: np.random.Generator) -> Patch:
        which = rng.choice(len(self.sources), p=self.shares)
        pictures, (least, most) = self.sources[which]
        picture = pictures[rng.choice(len(pictures), p=self.weights[which])]
        side = self.recipe["patch"]
        scale = max(rng.uniform(least, most), (side + 1) / min(picture.shape[:2]))
        if scale > 1 and least == most:
            scale = 1.0
        reach = min(round(side / scale), *picture.shape[:2])
        top = rng.integers(0, picture.shape[0] - reach + 1)
        left = rng.integers(0, picture.shape[1] - reach + 1)
        crop = picture[top : top + reach, left : left + reach]
        if reach != side:
            crop = np.asarray(
                Image.fromarray(crop).resize(
                    (side, side), Image.Resampling.BOX if reach > 1.9 * side else Image.Resampling.LANCZOS
                )
            )
        turn = self.recipe.get("turn", True)
        if rng.random() < 0.5 and turn != "never":
            crop = crop[:, ::-1]
        if turn is True:
            crop = np.rot90(crop, rng.integers(4))
        return np.ascontiguousarray(crop, dtype=np.float32) / np.float32(255.0)

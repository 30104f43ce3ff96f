"""Train one mode's network: `python -m training.train general --data FOLDER`.

Checkpoints every few minutes into runs/MODE/; started again with the same arguments it goes on where it
stopped, with the same samples it would have seen. The learning rate is constant and then falls to zero
(`decay_from`), so a run can be made shorter or longer until the fall begins without changing what came before.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor, nn

from training.data import Patches, overlays_of, pictures_of, source_folder
from training.degrade import Patch, compressed, damaged, rounded, toned
from training.net import UNet, weights_of

HERE = Path(__file__).parent
CHECKPOINT_SECONDS = 180.0
REPORT_STEPS = 500


def recipe_of(mode: str) -> dict[str, Any]:
    recipes = yaml.safe_load((HERE / "recipes.yaml").read_text())
    if mode not in recipes:
        raise SystemExit(f"no recipe named {mode!r} in {HERE / 'recipes.yaml'}; it has: {', '.join(recipes)}")
    return dict(recipes[mode])


def rate_at(step: int, recipe: dict[str, Any]) -> float:
    """Warm-up, plateau, straight fall to zero."""
    warm = min(1.0, (step + 1) / recipe["warmup_steps"])
    start = recipe["decay_from"] * recipe["steps"]
    fall = 1.0 if step < start else max(0.0, 1 - (step - start) / (recipe["steps"] - start))
    return float(recipe["rate"] * warm * fall)


Pair = tuple[Tensor, Tensor]


def held_out_pairs(data: Path, recipe: dict[str, Any]) -> dict[str, list[Pair]]:
    """Crops of pictures that training never sees, with fixed damage: the curve in the log. Not a test set.

    `own` is the recipe's damage as it comes; clean, noise and JPEG are there for networks of the same size.
    """
    pairs: dict[str, list[Pair]] = {"own": [], "clean": []}
    if recipe["network"].get("scale", 1) == 1:
        pairs |= {"sigma15": [], "sigma50": [], "jpeg10": [], "jpeg30": []}
    for name, count in recipe["held_out"].items():
        for number, path in enumerate(pictures_of(source_folder(data, name))[-count:]):
            clean = np.asarray(Image.open(path).convert("RGB").crop((64, 64, 320, 320)), dtype=np.float32) / 255
            for kind, members in pairs.items():
                members.append(_held_out_pair(kind, clean, number, recipe, data))
    return pairs


def _held_out_pair(kind: str, clean: Patch, number: int, recipe: dict[str, Any], data: Path) -> Pair:
    rng = np.random.default_rng((number, len(kind)))
    if kind.startswith("sigma"):
        dirty = rounded(clean + rng.standard_normal(clean.shape, dtype=np.float32) * int(kind[5:]) / 255)
    elif kind.startswith("jpeg"):
        dirty = compressed(clean, rng, (int(kind[4:]), int(kind[4:])), 0.0, 0.0)
    else:
        if "tone" in recipe:
            clean = toned(clean, rng, recipe["tone"], recipe.get("hard"))
        block = dict(recipe["damage"], clean=float(kind == "clean"))
        dirty = damaged(clean, rng, block, overlays_of(data, recipe))
    return tuple(torch.from_numpy(p.transpose(2, 0, 1).copy())[None] for p in (dirty, clean))  # type: ignore[return-value]


@torch.no_grad()
def figures(net: nn.Module, pairs: dict[str, list[tuple[Tensor, Tensor]]]) -> str:
    """PSNR in dB per kind of damage."""
    out = []
    for kind, members in pairs.items():
        psnr = [-10 * torch.log10((net(dirty).clamp(0, 1) - clean).square().mean() + 1e-10) for dirty, clean in members]
        out.append(f"{kind} {torch.stack(psnr).mean():.2f}")
    return "  ".join(out)


def loss_of(result: Tensor, clean: Tensor, weights: dict[str, float]) -> Tensor:
    """Mean absolute error, and what a recipe adds to it: `squared` and `gradient` errors, `edges` that weigh more.

    The answer of the absolute error to a thin stroke that may or may not be there is the median: paper. Squared error,
    errors of the differences between neighbours, and a weight of 1 + edges * contrast around strokes make leaving it
    out dear.
    """
    error = result - clean
    weight = torch.ones_like(clean[:, :1])
    if edges := weights.get("edges"):
        luma = clean.mean(dim=1, keepdim=True)
        contrast = nn.functional.max_pool2d(luma, 3, 1, 1) + nn.functional.max_pool2d(-luma, 3, 1, 1)
        weight = 1 + edges * nn.functional.max_pool2d(contrast, 3, 1, 1)
        weight = weight / weight.mean()
    loss = weights["absolute"] * (weight * error.abs()).mean()
    if squared := weights.get("squared"):
        loss = loss + squared * (weight * error.square()).mean()
    if gradient := weights.get("gradient"):
        steps = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        loss = loss + gradient * steps
    return loss


class Run:
    """A network in training, its optimiser, the running average that will be shipped, and how far it has come."""

    def __init__(self, recipe: dict[str, Any], checkpoint: Path) -> None:
        self.recipe, self.checkpoint, self.step = recipe, checkpoint, 0
        self.net = UNet(**recipe["network"]).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=recipe["rate"], weight_decay=1e-4, betas=(0.9, 0.99)
        )
        self.average = {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def begin_from(self, weights: dict[str, Tensor]) -> None:
        """Start from these weights instead of chance."""
        self.net.load_state_dict(weights)
        self.average = {name: value.detach().clone() for name, value in weights.items()}

    def resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.step = state["average"], state["step"]

    def save(self) -> None:
        """All or nothing: a run that is killed while it saves finds the checkpoint before."""
        net, optimiser = self.net.state_dict(), self.optimiser.state_dict()
        beside = self.checkpoint.with_suffix(".tmp")
        torch.save({"net": net, "optimiser": optimiser, "average": self.average, "step": self.step}, beside)
        beside.replace(self.checkpoint)

    def learn(self, dirty: Tensor, clean: Tensor) -> float:
        """One step; returns the loss, the mean absolute error in 0..1."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(self.step, self.recipe)
        dirty = dirty.to(memory_format=torch.channels_last)
        start = self.net.begun(dirty)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            correction = self.net.correction(dirty)
        # the sum is taken in float32: in bfloat16 the picture itself would lose its low bits
        loss = loss_of(start + correction.float(), clean, self.recipe.get("loss", {"absolute": 1.0}))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 0.5)
        self.optimiser.step()
        self.step += 1
        blend = min(self.recipe["ema"], (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self.average[name].lerp_(value, 1 - blend)
        return float(loss.detach())


def train(mode: str, data: Path, runs: Path, threads: int, from_weights: Path | None) -> None:
    recipe = recipe_of(mode)
    torch.set_num_threads(threads)
    torch.manual_seed(recipe["seed"])
    folder = runs / mode
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(recipe, folder / "last.pt")
    if run.checkpoint.exists():
        run.resume()
        print(f"resumed at step {run.step}", flush=True)
    elif from_weights is not None:
        run.begin_from(weights_of(from_weights, run.net))
    elif "begins_with" in recipe:
        before = recipe["begins_with"]["recipe"]
        raise SystemExit(
            f"{mode} goes on from {before}: train and export that first, then --from-weights {before}.onnx"
        )

    steps, batch = recipe["steps"], recipe["batch"]
    samples = Patches(data, recipe, (steps - run.step) * batch, first=run.step * batch)
    loader = torch.utils.data.DataLoader(samples, batch_size=batch, num_workers=1, prefetch_factor=8)
    pairs, judge = held_out_pairs(data, recipe), UNet(**recipe["network"]).eval()
    if run.step == 0:
        judge.load_state_dict(run.average)
        print(f"before the first step: {figures(judge, pairs)}", flush=True)
    saved_at = reported_at = time.monotonic()
    losses: list[float] = []
    for dirty, clean in loader:
        losses.append(run.learn(dirty, clean))
        now = time.monotonic()
        if now - saved_at > CHECKPOINT_SECONDS or run.step == steps:
            run.save()
            saved_at = now
        if run.step % REPORT_STEPS == 0 or run.step == steps:
            judge.load_state_dict(run.average)
            loss, seconds = np.mean(losses), (now - reported_at) / len(losses)
            rate = rate_at(run.step, recipe)
            said = f"step {run.step}  rate {rate:.2e}  loss {loss:.5f}  {figures(judge, pairs)}  {seconds:.3f} s/step"
            print(said, flush=True)
            losses.clear()
            reported_at = time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode")
    parser.add_argument("--data", type=Path, required=True, help="folder of training pictures (photo/, face/, text/)")
    parser.add_argument("--runs", type=Path, default=HERE / "runs", help="checkpoints (default: training/runs)")
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="one, unless nothing else runs: two contended threads are ten times slower",
    )
    parser.add_argument("--from-weights", type=Path, help="an exported .onnx to start from (its levels may be fewer)")
    given = parser.parse_args()
    train(given.mode, given.data, given.runs, given.threads, given.from_weights)


if __name__ == "__main__":
    main()

"""The one family of networks: a plain residual U-Net of 3×3 convolutions and ReLU.

Output = input + correction, so strength is a blend and an untrained network does nothing. No
normalisation, no attention, no depthwise convolution: on a CPU they cost far more time in ONNX
Runtime than their arithmetic says (training/README.md has the figures). The first level works at full
resolution because a network that starts with a pixel-unshuffle lost 0.6 dB at equal cost.
"""

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn


class Block(nn.Module):
    """x + conv(relu(conv(x))), channels kept."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(x)))


class UNet(nn.Module):
    """Same-size restoration: float NCHW RGB in 0..1 in, the same shape out (not clipped).

    `widths[i]` channels at 1/2**i of the resolution, `blocks[i]` residual blocks there on the way down
    and again on the way up (the deepest level is passed once). Height and width must be multiples of
    `2 ** (len(widths) - 1)`.
    """

    def __init__(self, widths: list[int], blocks: list[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        levels = range(len(widths))
        self.down = nn.ModuleList(nn.Sequential(*(Block(widths[i]) for _ in range(blocks[i]))) for i in levels)
        self.shrink = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, stride=2) for i in levels[:-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2) for i in levels[:-1])
        self.up = nn.ModuleList(nn.Sequential(*(Block(widths[i]) for _ in range(blocks[i]))) for i in levels[:-1])
        self.head = nn.Conv2d(widths[0], 3, 3, padding=1)
        for module in self.modules():
            if isinstance(module, Block):  # each block starts as the identity's near neighbour
                nn.init.kaiming_normal_(module.first.weight, nonlinearity="relu")
                nn.init.normal_(module.second.weight, std=0.02)
        nn.init.zeros_(self.head.weight)
        for parameter_name, parameter in self.named_parameters():
            if parameter_name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stem(x)
        skips = []
        for level, shrink in zip(self.down, self.shrink, strict=False):
            features = level(features)
            skips.append(features)
            features = shrink(features)
        features = self.down[-1](features)
        for i in reversed(range(len(skips))):
            features = self.up[i](self.grow[i](features) + skips[i])
        return x + self.head(features)


def multiply_adds_per_pixel(net: UNet) -> float:
    """Multiply-adds of one forward pass divided by the input's pixels, counted from the layers."""
    total, side = 0.0, 64
    counts: list[float] = []

    def count(layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        taps = layer.weight.numel()
        places = (
            output.shape[2] * output.shape[3] / (layer.stride[0] ** 2 if isinstance(layer, nn.ConvTranspose2d) else 1)
        )
        counts.append(taps * places)

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    with torch.no_grad():
        net(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    total = sum(counts)
    return total / side**2


def weights_of(path: Path, net: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of an exported network, ready for `net.load_state_dict`; ValueError when the shapes differ."""
    stored = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}
    wanted = {name: value.shape for name, value in net.state_dict().items()}
    missing = [name for name, shape in wanted.items() if name not in stored or stored[name].shape != shape]
    if missing:
        raise ValueError(f"{path} does not hold this network: {missing[0]} is missing or of another shape")
    return {name: stored[name] for name in wanted}

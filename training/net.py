"""The one family of networks: a plain residual U-Net of 3×3 convolutions and ReLU.

Output = input + correction, so strength is a blend and an untrained network does nothing; one that
enlarges starts as bicubic interpolation. No
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
    """Restoration: float NCHW RGB in 0..1 in, the same shape times `scale` out (not clipped).

    `widths[i]` channels at 1/2**i of the resolution, `blocks[i]` residual blocks there on the way down
    and again on the way up (the deepest level is passed once). Height and width must be multiples of
    `2 ** (len(widths) - 1)`. scale: 1, or the factor by which it enlarges: the correction is then computed for
    all pixels of the result at the input's resolution and shuffled into place.
    """

    def __init__(self, widths: list[int], blocks: list[int], scale: int = 1) -> None:
        super().__init__()
        self.scale = scale
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1)
        levels = range(len(widths))
        self.down = nn.ModuleList(nn.Sequential(*(Block(widths[i]) for _ in range(blocks[i]))) for i in levels)
        self.shrink = nn.ModuleList(nn.Conv2d(widths[i], widths[i + 1], 2, stride=2) for i in levels[:-1])
        self.grow = nn.ModuleList(nn.ConvTranspose2d(widths[i + 1], widths[i], 2, stride=2) for i in levels[:-1])
        self.up = nn.ModuleList(nn.Sequential(*(Block(widths[i]) for _ in range(blocks[i]))) for i in levels[:-1])
        self.head = nn.Conv2d(widths[0], 3 * scale**2, 3, padding=1)
        if scale > 1:
            self.enlarge = nn.Conv2d(3, 3 * scale**2, 5, padding=2, padding_mode="replicate", bias=False)
            self.enlarge.weight.data.copy_(bicubic_weights(scale))
        for module in self.modules():
            if isinstance(module, Block):  # each block starts as the identity's near neighbour
                nn.init.kaiming_normal_(module.first.weight, nonlinearity="relu")
                nn.init.normal_(module.second.weight, std=0.02)
        nn.init.zeros_(self.head.weight)
        for parameter_name, parameter in self.named_parameters():
            if parameter_name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        return self.begun(x) + self.correction(x)

    def begun(self, x: Tensor) -> Tensor:
        """What is there without any learning: the input, enlarged if need be."""
        return x if self.scale == 1 else nn.functional.pixel_shuffle(self.enlarge(x), self.scale)

    def correction(self, x: Tensor) -> Tensor:
        """What is to be added to it."""
        features = self.stem(x)
        skips = []
        for level, shrink in zip(self.down, self.shrink, strict=False):
            features = level(features)
            skips.append(features)
            features = shrink(features)
        features = self.down[-1](features)
        for i in reversed(range(len(skips))):
            features = self.up[i](self.grow[i](features) + skips[i])
        added = self.head(features)
        return added if self.scale == 1 else nn.functional.pixel_shuffle(added, self.scale)


def bicubic_weights(scale: int) -> Tensor:
    """Bicubic enlargement (Keys 1981, a = -0.5, pixel centres kept) as one convolution, (3 * scale**2, 3, 5, 5).

    Channel c * scale**2 + i * scale + j gives colour c of the result at row i and column j of the input pixel's square.
    """

    def kernel(distance: Tensor) -> Tensor:
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(distance)))

    phases = (torch.arange(scale) + 0.5) / scale - 0.5
    taps = kernel((torch.arange(-2, 3)[None] - phases[:, None]).abs())  # (scale, 5)
    weights = torch.zeros(3, scale, scale, 3, 5, 5)
    for colour in range(3):
        weights[colour, :, :, colour] = taps[:, None, :, None] * taps[None, :, None, :]
    return weights.reshape(3 * scale**2, 3, 5, 5)


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


def weights_of(path: Path, net: UNet) -> dict[str, torch.Tensor]:
    """The weights of an exported network for `net.load_state_dict`; ValueError when they are of another shape.

    `net` may have deeper levels than the file: they begin silent (what grows out of them is zero), so that it starts
    as the network in the file.
    """
    graph = onnx.load(path).graph
    stored = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()).float() for t in graph.initializer}
    begun = net.state_dict()
    unlike = [name for name, value in stored.items() if name not in begun or begun[name].shape != value.shape]
    if unlike:
        raise ValueError(f"{path} does not fit this network: {unlike[0]} is not in it, or of another shape")
    for name in begun:
        if name not in stored and name.startswith("grow."):
            begun[name] = torch.zeros_like(begun[name])
    return begun | stored

"""Colours of a file to colours that networks know, and back: profiles, inks, light beyond white.

Networks have seen sRGB. A colour that sRGB does not have (the green of a phone's display, a printer's cyan, a window
ten times as bright as white) would be lost on the way there and back. So the way back is gone for the result and for
what the network was given, and the difference between that and the file's own pixels is put back: where the network
changes nothing, the file's own pixels come out, whatever their colour.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pyvips

from darkroomd.job import Tags

# a profile that moves no colour by more than this (of 65535) is sRGB under another name
SAME_AS_SRGB = 400
SAMPLES = {"uint8": "uchar", "uint16": "ushort", "float32": "float"}


def as_image(pixels: npt.NDArray[Any], interpretation: str) -> Any:
    """A libvips image that reads the array where it is."""
    height, width, count = pixels.shape
    image = pyvips.Image.new_from_memory(
        memoryview(pixels.data).cast("B"), width, height, count, SAMPLES[pixels.dtype.name]
    )
    return image.copy(interpretation=interpretation)


def own_image(pixels: npt.NDArray[Any], tags: Tags) -> Any:
    """The file's own pixels as libvips names them: float without a profile is linear light."""
    wide = {1: "grey16", 3: "rgb16", 4: "cmyk"}
    if pixels.dtype == np.float32:
        wide = {1: "b-w", 3: "scrgb" if tags.icc is None else "rgb", 4: "cmyk"}
    elif pixels.dtype == np.uint8:
        wide = {1: "b-w", 3: "srgb", 4: "cmyk"}
    return as_image(pixels, wide[pixels.shape[2]])


def to_network(own: Any, tags: Tags) -> Any:
    """libvips image in the file's colours, no alpha -> 16-bit sRGB, or 16-bit grey from grey light; clipped to 0..1."""
    if own.interpretation == "scrgb":
        return own.colourspace("rgb16")
    if own.bands == 1:
        return own.colourspace("grey16")
    if own.format == "float":
        own = _codes(own)
    with_profile = own.copy()
    if tags.icc is not None:
        with_profile.set_type(pyvips.GValue.blob_type, "icc-profile-data", tags.icc)
    fallback = {"input_profile": "cmyk"} if own.bands == 4 else {}
    image = with_profile.icc_transform("srgb", embedded=True, intent="relative", depth=16, **fallback)
    image.remove("icc-profile-data")
    return image


def from_network(image: Any, own: Any, tags: Tags) -> Any:
    """16-bit sRGB or grey -> the colours and samples of the libvips image `own`."""
    if own.interpretation == "scrgb":
        return image.colourspace("scrgb")
    if own.bands == 1:
        return image.colourspace("b-w")
    depth = 8 if own.format == "uchar" else 16
    result = image.copy(interpretation="rgb16").icc_transform(
        _profile_name(tags.icc), input_profile="srgb", embedded=False, intent="relative", depth=depth
    )
    result.remove("icc-profile-data")
    return (result / 65535.0).cast("float") if own.format == "float" else result


def in_own_colours(result: Any, before: Any, own: Any, tags: Tags) -> Any:
    """The result in the file's colours. result, before: what the network gave and what it was given, 16-bit images.

    A result of another size gets the difference enlarged with it.
    """
    kept = own.cast("float") - from_network(before, own, tags).cast("float")
    if result.width != own.width:
        kept = kept.resize(result.width / own.width, vscale=result.height / own.height, kernel="linear")
        kept = kept.gravity("north-west", result.width, result.height, extend="copy")
    whole = from_network(result, own, tags).cast("float") + kept
    if own.format != "float":
        whole = whole.rint().cast(own.format)
    return whole.copy(interpretation=own.interpretation)


def is_srgb(profile: bytes, bands: int) -> bool | None:
    """Whether the profile gives every colour of a lattice the codes of sRGB; None when it cannot be read, or is for
    another number of channels."""
    if bands != 3:
        return None
    levels = np.linspace(0, 65535, 9)
    lattice = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(27, 27, 3).astype(np.uint16)
    image = pyvips.Image.new_from_array(lattice).copy(interpretation="rgb16")
    try:
        seen = to_network(image, Tags(icc=profile)).numpy()
    except pyvips.Error:
        return None
    return bool(np.abs(seen.astype(np.int64) - lattice).max() <= SAME_AS_SRGB)


def readable(profile: bytes, bands: int) -> bool:
    """Whether libvips can go from this profile to sRGB for a picture of so many channels."""
    shape = pyvips.Image.black(1, 1, bands=bands).copy(interpretation={1: "b-w", 3: "srgb", 4: "cmyk"}[bands])
    shape.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    try:
        shape.icc_transform("srgb", embedded=True).avg()
    except pyvips.Error:
        return False
    return True


def _codes(image: Any) -> Any:
    """Float codes 0..1 as 16 bits."""
    return (image * 65535).rint().cast("ushort").copy(interpretation="rgb16")


_held: dict[int, int] = {}


def _profile_name(profile: bytes | None) -> str:
    """A name under which libvips can read the profile: it takes no bytes here."""
    if profile is None:
        return "cmyk"
    key = hash(profile)
    if key not in _held:
        for descriptor in _held.values():
            os.close(descriptor)
        _held.clear()
        _held[key] = os.memfd_create("profile")
        os.write(_held[key], profile)
    return f"/proc/self/fd/{_held[key]}"

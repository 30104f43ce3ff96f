"""Cameras' raw files: developed by LibRaw, the only file that knows it (extra `raw`)."""

from collections.abc import Callable

import numpy as np

from darkroomd.errors import Rejected
from darkroomd.job import Raster, Tags

INSTALL = "camera raw files need one more package: pip install 'darkroomd[raw]'"


def read(descriptor: int, check: Callable[[int, int], None]) -> Raster:
    """The developed picture, 16-bit sRGB, upright: the camera's own white balance, brightened as LibRaw does.

    check: raises when a picture of this size is not wanted.
    """
    try:
        import rawpy
    except ImportError as error:
        raise Rejected(INSTALL) from error
    try:
        with rawpy.imread(f"/proc/self/fd/{descriptor}") as photo:
            check(photo.sizes.width, photo.sizes.height)
            pixels = photo.postprocess(use_camera_wb=True, output_bps=16, auto_bright_thr=0.001)
    except rawpy.LibRawError as error:
        raise Rejected(f"the raw file is damaged, or of an unknown camera ({_words(error)})") from error
    return Raster(np.ascontiguousarray(pixels), 16, Tags())


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)

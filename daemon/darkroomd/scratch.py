"""Room for pixels: memory for a photo, and for a giant a file that has no name, so that nothing can be left behind.

A mapped page counts as this process's memory for as long as it is mapped. Who walks through a giant therefore says
which pages are done with; they stay in the kernel's cache, which it takes back when others need the memory.
"""

import errno
import mmap
import os
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkroomd._core import resize
from darkroomd.errors import Rejected, Retryable
from darkroomd.polite import give_memory_back

# two pictures of this size are in memory at once: the photo and its result
LARGE_BYTES = 160 << 20
BAND_BYTES = 32 << 20
# never /tmp, which is memory on many machines
DEFAULT_FOLDER = "/var/tmp"


def giant(size_bytes: int) -> bool:
    """Whether so many bytes of pixels are too many for memory."""
    return size_bytes >= LARGE_BYTES


@contextmanager
def at_most(memory_mb: float, name: str) -> Iterator[None]:
    """Within, this process gets no more memory than this beside what it holds; scratch files do not count.

    Rejected, with the name of the limit, where more is asked for; MemoryError where somebody else's limit is lower.
    """
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    lines = Path("/proc/self/status").read_text().splitlines()
    held_kb = next(int(line.split()[1]) for line in lines if line.startswith("VmData"))
    ours = (held_kb << 10) + int(memory_mb * 1e6)
    lower = [limit for limit in (before, hard) if limit != resource.RLIM_INFINITY and limit <= ours]
    resource.setrlimit(resource.RLIMIT_DATA, (min([ours, *lower]), hard))
    try:
        yield
    except MemoryError as error:
        if lower:
            raise
        raise Rejected(f"to decode it takes more memory than {name} allows ({memory_mb:g})") from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))


def room(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array with anything in it. Retryable, in words, when the scratch folder has no room for a giant."""
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if not giant(size):
        return np.empty(shape, dtype)
    give_memory_back()
    folder = os.environ.get("TMPDIR") or DEFAULT_FOLDER
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a sparse file would end the process when the disk is full
            pages = mmap.mmap(file.fileno(), size)
    except OSError as error:
        why = "has no room for" if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else "cannot hold"
        raise Retryable(
            f"the scratch folder {folder} {why} {size / 1e9:.1f} GB of pixels ({error.strerror}); TMPDIR names another"
        ) from error
    return np.frombuffer(pages, dtype).reshape(shape)


def forget(*arrays: npt.NDArray[Any] | None) -> None:
    """What was read or written of these is not needed in memory any more. Nothing happens to arrays of memory."""
    for array in arrays:
        holder: Any = array
        while isinstance(holder, np.ndarray | memoryview):
            holder = holder.base if isinstance(holder, np.ndarray) else holder.obj
        if isinstance(holder, mmap.mmap):
            holder.madvise(mmap.MADV_DONTNEED)


def bands(array: npt.NDArray[Any], multiple_of: int = 1) -> Iterator[slice]:
    """Slices of rows, from top to bottom: one for a photo, many for a giant, whose pages are forgotten on the way.

    All but the last are multiples of `multiple_of` rows.
    """
    height = array.shape[0]
    step = height
    if giant(array.nbytes):
        row_bytes = max(1, array.nbytes // max(1, height))
        step = max(multiple_of, BAND_BYTES // row_bytes // multiple_of * multiple_of)
    for top in range(0, height, max(1, step)):
        yield slice(top, min(height, top + step))
        forget(array)


def sampled(pixels: npt.NDArray[Any], down: int, across: int = 1) -> npt.NDArray[Any]:
    """Every so many-th row and column, as a new array.

    In bands: around each row that is read the kernel maps up to 2 MB, of 400 megapixels the whole.
    """
    return np.concatenate([pixels[rows][::down, ::across].copy() for rows in bands(pixels, down)])


def by_bands(
    make: Callable[..., npt.NDArray[Any]], *arrays: npt.NDArray[Any], multiple_of: int = 1
) -> npt.NDArray[Any]:
    """make(*arrays), for a `make` that gives rows for rows of the same size: of a giant band by band, into a room."""
    if not giant(arrays[0].nbytes):
        return make(*arrays)
    out: npt.NDArray[Any] | None = None
    for rows in bands(arrays[0], multiple_of):
        part = make(*(array[rows] for array in arrays))
        if out is None:
            out = room((arrays[0].shape[0], *part.shape[1:]), part.dtype)
        out[rows] = part
        forget(out, *arrays)
    assert out is not None
    return out


def resized(pixels: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[Any]:
    """As the core's resize; from a giant or to one band by band."""
    made = pixels.nbytes // (pixels.shape[0] * pixels.shape[1]) * width * height
    if not giant(pixels.nbytes) and not giant(made):
        return resize(pixels, width, height)
    out = room((height, width, pixels.shape[2]), pixels.dtype)
    step = max(1, BAND_BYTES * height // max(pixels.nbytes, made))
    for top in range(0, height, step):
        rows = top, min(height, top + step)
        out[slice(*rows)] = resize(pixels, width, height, rows)
        forget(pixels, out)
    return out

"""A family's folder: photos of every kind in one place, and the album that comes out of them.

Other people's decoders look at both sides: Pillow, pi-heif, rawpy, tifffile and ExifTool.
"""

import io
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pi_heif
import pyvips
import rawpy
import tifffile
from PIL import Image, ImageCms, ImageOps

from darkroomd.guard import colour_difference
from tests import pictures
from tests.stories.conftest import Home
from tests.test_formats import DATA, dng
from tests.test_same import profile
from tests.test_tags import exiftool, needs_exiftool

TAKEN = "2001:02:03 04:05:06"
TAKEN_SECONDS = 981_173_106
GRID = (6, 6)
# of a cell, and of all: noise is taken away and a JPEG written again. P3 shown as sRGB is off by 2, Adobe RGB by 4
MOST_DELTA_E, MEAN_DELTA_E = 4.0, 1.0


def thumbnail(path: Path) -> npt.NDArray[np.float32]:
    """Mean colours of 6 × 6 cells of the picture as it is shown: upright, in sRGB, on white; 0..1."""
    profile_bytes = None
    with path.open("rb") as file:
        head = file.read(12)
    if head[8:12] == b"heic":
        photo = pi_heif.open_heif(path)
        image, profile_bytes = photo.to_pillow(), photo.info["icc_profile"]
    elif path.suffix == ".dng":
        with rawpy.imread(str(path)) as raw:
            image = Image.fromarray(raw.postprocess(use_camera_wb=True, output_bps=8))
    elif head[:2] in (b"II", b"MM"):  # Pillow reads no colours of 16 bits
        with tifffile.TiffFile(path) as tiff:
            codes, tags = tiff.asarray(), tiff.pages.first.tags
            assert tags.get(274) is None or tags[274].value == 1
            profile_bytes = tags[34675].value if 34675 in tags else None
        assert codes.dtype == np.uint16
        image = Image.fromarray((codes >> 8).astype(np.uint8))
    else:
        image = Image.open(path)
        profile_bytes = image.info.get("icc_profile")
        image = ImageOps.exif_transpose(image)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if profile_bytes:
        own = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
        image = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert image is not None
    small = image.convert("RGB").resize(GRID, Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


def family(folder: Path) -> list[Path]:
    """What a family hands over; the scan and the panorama lie on their side and say so."""
    folder.mkdir()
    noisy = pictures.with_noise(pictures.scene(240, 160, 3), 9)
    scan = pictures.image_of(noisy.astype(np.uint16) * 257).copy()
    scan.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile("Adobe RGB"))
    scan.tiffsave(str(folder / "scan.tif"), compression="lzw")
    cut_out = np.dstack([noisy, np.where(np.hypot(*np.mgrid[-80:80, -120:120]) < 70, 255, 0)]).astype(np.uint8)
    pictures.write_png(folder / "logo.png", cut_out)
    Image.fromarray(noisy).convert("CMYK").save(folder / "print.jpg", quality=92)
    wide = pictures.with_noise(pictures.scene(1600, 200, 5), 9)
    pictures.write_jpeg(folder / "panorama.jpg", np.rot90(wide), 92)
    shutil.copy(DATA / "phone.heic", folder / "IMG_0001.HEIC")
    dng(folder / "camera.dng")
    for name, words in {
        "scan.tif": [], "logo.png": [], "print.jpg": [], "panorama.jpg": ["-Orientation#=6"], "camera.dng": [],
    }.items():  # fmt: skip
        command = ["exiftool", "-q", "-overwrite_original", f"-DateTimeOriginal={TAKEN}", *words, str(folder / name)]
        subprocess.run(command, check=True, capture_output=True)
    return sorted(folder.iterdir())


@needs_exiftool
def test_photos_of_every_kind_come_out_in_their_colours_upright_and_on_their_day(home: Home) -> None:
    sources = family(home.folder / "family")
    seen = {source.stem: thumbnail(source) for source in sources}
    for source in sources:
        os.utime(source, (TAKEN_SECONDS, TAKEN_SECONDS))
        home.moved_in(source, source.name)
    assert home.once().returncode == 0
    results = {path.stem: path for path in home.results().values()}
    kinds = {stem: path.suffix for stem, path in results.items()}
    assert kinds == {
        "IMG_0001": ".avif", "camera": ".tif", "scan": ".tif", "logo": ".png", "print": ".jpg", "panorama": ".jpg",
    }  # fmt: skip
    sizes = {}
    for stem, path in results.items():
        off = colour_difference(seen[stem], thumbnail(path))
        assert off.max() < MOST_DELTA_E, (stem, off.round(1))
        assert off.mean() < MEAN_DELTA_E, (stem, off.round(1))
        tags = exiftool(path)
        assert tags["ExifIFD:DateTimeOriginal"] == TAKEN, stem
        assert tags.get("IFD0:Orientation", 1) == 1, stem
        assert path.stat().st_mtime == TAKEN_SECONDS, stem
        sizes[stem] = pyvips.Image.new_from_file(str(path))
    assert (sizes["panorama"].width, sizes["panorama"].height) == (1600, 200)  # it lay on its side
    assert (sizes["IMG_0001"].width, sizes["IMG_0001"].height) == (48, 64)
    assert sizes["scan"].get("icc-profile-data") == profile("Adobe RGB")
    assert (sizes["scan"].format, sizes["camera"].format) == ("ushort", "ushort")
    assert (sizes["print"].interpretation, sizes["logo"].bands) == ("cmyk", 4)

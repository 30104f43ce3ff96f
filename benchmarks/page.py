"""Pages to read, in typefaces that no network was trained on, and Tesseract from Debian as the reader."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.bench import Floats, save_png
from benchmarks.measures import error_rate

# one file each of fonts-ebgaramond, -linuxlibertine, -crosextra-carlito, -crosextra-caladea, -open-sans, -lato, -ocr-a,
# -jetbrains-mono; training draws other families
FONTS = (
    "EBGaramond12-Regular.otf",
    "LinLibertine_R.otf",
    "Carlito-Regular.ttf",
    "Caladea-Regular.ttf",
    "OpenSans-Regular.ttf",
    "Lato-Regular.ttf",
    "OCRA.ttf",
    "JetBrainsMono-Regular.ttf",
)
SENTENCES = (
    "The ferry leaves at 7.45 from the old harbour and carries 320 people.",
    "Please keep this letter: it shows what was agreed on 14 March.",
    "Two cups of flour, a pinch of salt, and the peel of one lemon.",
    "Her uncle kept bees behind the house until the winter of 1968.",
    "Turn left at the bridge, then follow the river for six miles.",
    "Total due 148.60, of which 23.72 is tax; paid by card.",
    "A quiet street, three shops, and a school with green windows.",
    "We thank you for your patience while the lift is being repaired.",
    "Store below 25 degrees and use within 90 days of opening.",
    "He wrote that the harvest had been poor but the cellar was full.",
    "Every page of the notebook was numbered by hand in blue ink.",
    "Gate 12 closes 15 minutes before departure; have your pass ready.",
    "The judge asked twice whether anyone had seen the second key.",
    "Serial no. 5083-7716, made for the export market, 230 volts.",
    "In the evening the wind dropped and we could hear the bells.",
    "Nobody expected the quick answer that came by return of post.",
)


@dataclass(frozen=True)
class Page:
    """A clean page and what is on it. below: the first row of the picture under the text, if there is one."""

    picture: Floats
    text: str
    below: int


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    for folder in (Path("/usr/share/fonts"), Path("/usr/share/texmf/fonts")):
        if found := next(folder.rglob(name), None):
            return ImageFont.truetype(str(found), size)
    raise SystemExit(f"the font {name} is missing; `make readers` installs it")


def page(name: str, size: int, sides: tuple[int, int], number: int, photo: Floats | None = None) -> Page:
    """Sentences in one typeface, dark ink on light paper. size: of the font, pixels. sides: width, height."""
    rng = np.random.default_rng(number)
    width, height = sides
    paper, ink = rng.uniform(225, 252) - np.array([0, 3, 12]) * rng.random(), rng.uniform(15, 60, 3)
    sheet = Image.new("RGB", sides, tuple(int(v) for v in paper))
    pen, face = ImageDraw.Draw(sheet), font(name, size)
    words = " ".join(SENTENCES[i] for i in rng.permutation(len(SENTENCES)) for _ in range(1)).split()
    bottom = height - (0 if photo is None else photo.shape[0])
    lines, margin, step = [], 2 * size, round(1.55 * size)
    for top in range(margin, bottom - step - size, step):
        line: list[str] = []
        while words and pen.textlength(" ".join([*line, words[0]]), font=face) <= width - 2 * margin:
            line.append(words.pop(0))
        pen.text((margin, top), " ".join(line), font=face, fill=tuple(int(v) for v in ink))
        lines.append(" ".join(line))
    picture = np.asarray(sheet, np.float32) / np.float32(255)
    if photo is not None:
        picture = np.concatenate([picture[:bottom], photo[:, :width]])
    return Page(np.ascontiguousarray(picture), "\n".join(lines), bottom)


def read(picture: Floats) -> str:
    """What Tesseract reads in it, as one block of English."""
    if shutil.which("tesseract") is None:
        raise SystemExit("tesseract is missing; `make readers` installs it")
    with TemporaryDirectory() as name:
        file = Path(name) / "page.png"
        save_png(file, picture)
        command = ["tesseract", str(file), "stdout", "--psm", "6", "-l", "eng", "--dpi", "150"]
        environ = os.environ | {"OMP_THREAD_LIMIT": "1"}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout


def reading_error(picture: Floats, text: str) -> float:
    """Character error rate, 0..1."""
    return error_rate(read(picture), text)

"""Pages to read, for the network `text`: `python -m training.pages`.

Letters in many typefaces, scripts, sizes, inks and papers, as documents, receipts, screens and signs, drawn with
Debian's fonts and written once as PNG into runs/pages/. The benchmark's pages use other typefaces.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

HERE = Path(__file__).parent
SIDE = 768
PACKAGES = (
    "fonts-dejavu fonts-liberation2 fonts-noto-core fonts-noto-cjk fonts-lmodern fonts-courier-prime fonts-roboto "
    "fonts-inconsolata"
)
FONTS = (Path("/usr/share/fonts"), Path("/usr/share/texmf/fonts"))
LATIN_FILES = (
    "DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf",
    "LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf", "LiberationSerif-Regular.ttf",
    "LiberationSerif-Italic.ttf", "LiberationMono-Regular.ttf",
    "NotoSans-Regular.ttf", "NotoSans-Italic.ttf", "NotoSerif-Regular.ttf", "NotoSerif-Italic.ttf",
    "lmroman10-regular.otf", "lmroman10-italic.otf", "lmsans10-regular.otf", "lmmono10-regular.otf",
    "Courier Prime.otf", "Roboto-Regular.ttf", "Roboto-Light.ttf", "Roboto-Medium.ttf", "Inconsolata.otf",
)  # fmt: skip
MONO_FILES = ("DejaVuSansMono.ttf", "LiberationMono-Regular.ttf", "Courier Prime.otf", "Inconsolata.otf")
WIDE_FILES = ("DejaVuSans.ttf", "DejaVuSerif.ttf", "NotoSans-Regular.ttf", "NotoSerif-Regular.ttf")
CJK_FILES = ("NotoSansCJK-Regular.ttc", "NotoSerifCJK-Regular.ttc")
COMMON = """
the of and to in is that it was for on are as with his they at be this from have or by one had not but what all
were when we there can an your which their said if do will each about how up out them then she many some so these
would other into has more her two like him see time could no make than first been its who now people my made over
did down only way find use may water long little very after words called just where most know total price date
paid cash invoice order street number phone thank you open closed menu page chapter figure table street exit
"""
VOWELS, CONSONANTS = "aaaeeeeiiioouuyäöüéè", "bbcccdddffgghhjkllllmmmnnnnppqrrrrsssstttttvvwxzçñß"
SCRIPTS = {
    "greek": "αβγδεζηθικλμνξοπρστυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЭЮЯ",
}


def font_paths() -> dict[str, Path]:
    """File name to path of every font that is installed; loud when the packages are missing."""
    found = {path.name: path for root in FONTS for path in root.rglob("*") if path.suffix in {".ttf", ".otf", ".ttc"}}
    missing = [name for name in (*LATIN_FILES, *CJK_FILES) if name not in found]
    if missing:
        raise SystemExit(f"fonts are missing ({', '.join(missing)}); run: apt-get install {PACKAGES}")
    return found


def word(rng: np.random.Generator, script: str) -> str:
    if script == "cjk":
        return "".join(chr(rng.integers(0x4E00, 0x9FA5)) for _ in range(rng.integers(1, 5)))
    if script in SCRIPTS:
        return "".join(rng.choice(list(SCRIPTS[script])) for _ in range(rng.integers(1, 11)))
    kind = rng.random()
    if kind < 0.45:
        made = str(rng.choice(COMMON.split()))
    elif kind < 0.80:
        made = "".join(
            rng.choice(list(CONSONANTS)) + rng.choice(list(VOWELS)) for _ in range(rng.integers(1, 5))
        ) + rng.choice(["", "n", "s", "t", "r", "ng", "st", "th"])
    else:
        made = str(rng.integers(0, 10 ** int(rng.integers(1, 7))))
        made += rng.choice(["", "", ".50", ",99", "%", "/7", ":30"])
    made = made.upper() if rng.random() < 0.07 else made.capitalize() if rng.random() < 0.15 else made
    return made + rng.choice(["", "", "", "", "", "", ".", ",", ";", "!", "?", ":", "-", '"', ")", "€", "&"])


def colours(rng: np.random.Generator, kind: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(paper, ink), 0..255."""
    if kind == "screen" and rng.random() < 0.4:  # dark mode
        return rng.uniform(0, 60, 3), rng.uniform(160, 255, 3)
    if kind == "sign":
        paper, ink = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
        while abs(paper.mean() - ink.mean()) < 70:
            paper, ink = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
        return paper, ink
    paper = np.full(3, rng.uniform(205, 255)) - np.array([0, rng.uniform(0, 8), rng.uniform(0, 30)])
    return paper, rng.uniform(0, 110) * rng.uniform(0.3, 1.0, 3) if rng.random() < 0.8 else rng.uniform(0, 150, 3)


def page(rng: np.random.Generator, fonts: dict[str, Path]) -> Image.Image:
    """One page, SIDE × SIDE, RGB."""
    kind = str(rng.choice(["document", "receipt", "screen", "sign"], p=[0.48, 0.17, 0.20, 0.15]))
    fine = 1 if kind == "screen" else 2  # scans and photographs are drawn finer and reduced, screens are not
    side = SIDE * fine
    paper, ink = colours(rng, kind)
    sheet = np.full((side, side, 3), paper)
    if kind != "screen":
        fibre = gaussian_filter(rng.standard_normal((side // 8, side // 8)), rng.uniform(0.5, 6))
        fibre = np.asarray(Image.fromarray(fibre.astype(np.float32)).resize((side, side)))
        sheet += (rng.uniform(0, 3) * fibre / max(fibre.std(), 1e-6))[..., None]
        sheet *= np.linspace(1, rng.uniform(0.75, 1), side)[:: rng.choice([-1, 1]), None, None]
    image = Image.fromarray(np.clip(sheet, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    top = int(rng.uniform(0, 30) * fine)
    while top < side:
        top = _block(rng, draw, fonts, kind, ink, top, fine)
    if kind != "screen" and rng.random() < 0.5:
        fill = tuple(int(v) for v in np.clip(paper, 0, 255))
        image = image.rotate(rng.uniform(-6, 6), Image.Resampling.BICUBIC, fillcolor=fill)
    return image.resize((SIDE, SIDE), Image.Resampling.BOX) if fine > 1 else image


def _block(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, fonts: dict[str, Path], kind: str,
    ink: npt.NDArray[np.float64], top: int, fine: int,
) -> int:  # fmt: skip
    """A few lines in one typeface from `top` downwards; gives back where they end."""
    script = str(rng.choice(["latin", "greek", "cyrillic", "cjk"], p=[0.80, 0.05, 0.08, 0.07]))
    files = MONO_FILES if kind == "receipt" else LATIN_FILES
    if script != "latin":
        files = CJK_FILES if script == "cjk" else WIDE_FILES
    size = float(rng.uniform(24, 90) if kind == "sign" else np.exp(rng.uniform(np.log(8), np.log(34))))
    if script == "cjk":
        size = max(size, 12.0)
    font = ImageFont.truetype(str(fonts[str(rng.choice(files))]), size * fine)
    left, right = int(rng.uniform(0, 60) * fine), int((SIDE - rng.uniform(0, 60)) * fine)
    colour = tuple(int(v) for v in np.clip(ink if rng.random() < 0.85 else rng.uniform(0, 140, 3), 0, 255))
    leading = size * fine * rng.uniform(1.1, 1.6)
    for _ in range(rng.integers(1, 9)):
        text, space = "", "" if script == "cjk" else " "
        while font.getlength(text) < (right - left) * (1.0 if rng.random() < 0.85 else 0.4):
            text += word(rng, script) + space
        draw.text((left, top), text[: max(1, len(text) - 4)], font=font, fill=colour)
        if rng.random() < 0.06:
            rule = [(left, top + leading), (right, top + leading)]
            draw.line(rule, fill=colour, width=int(rng.integers(1, 4)) * fine)
        top += int(leading)
    return top + int(rng.uniform(0, 24) * fine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=HERE / "runs" / "pages")
    parser.add_argument("--count", type=int, default=320)
    given = parser.parse_args()
    fonts = font_paths()
    given.to.mkdir(parents=True, exist_ok=True)
    for number in range(given.count):
        path = given.to / f"{number:04}.png"
        if not path.exists():
            page(np.random.default_rng((20261127, number)), fonts).save(path)


if __name__ == "__main__":
    main()

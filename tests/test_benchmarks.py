"""What the tables measure with is right, and the figures on the cards are the tables'."""

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import cards, measures, results, speed
from benchmarks.bench import Floats
from darkroomd import models


def step_edge(width: float) -> Floats:
    """An upright edge that rises evenly over `width` pixels, in a picture of 64 × 64."""
    rise = np.clip((np.arange(64) - 31.5) / width + 0.5, 0, 1)
    return np.broadcast_to(rise[None, :, None], (64, 64, 3)).astype(np.float32)


def test_the_figures_on_the_cards_are_the_tables() -> None:
    for name, card in models.cards().items():
        if found := cards.figures(name):
            assert card.figures == found, f"{name}: run python -m benchmarks.cards"


def test_the_readme_quotes_what_the_results_say() -> None:
    section = results.RESULTS.read_text().split("\n## Speed\n")[1].split("\n## ")[0]
    (seconds,) = re.findall(r"^\| whole enhance, JPEG to JPEG \| ([\d.]+) s", section, re.MULTILINE)
    (peak_mb,) = re.findall(r"^\| peak memory of `darkroomd enhance` \| (\d+) MB", section, re.MULTILINE)
    readme = (results.RESULTS.parents[1] / "README.md").read_text()
    (told,) = re.findall(r"About (\d+) MB of memory and (\d+) seconds on two cores for a 12-megapixel photo", readme)
    assert int(told[0]) == pytest.approx(int(peak_mb), abs=50)
    assert int(told[1]) == pytest.approx(float(seconds), abs=1)


def test_what_the_readme_says_of_another_enhancer_stands_in_the_tables() -> None:
    """Less than a twentieth of the time of x4plus, and nearer to the truth on each set."""
    readme = " ".join((results.RESULTS.parents[1] / "README.md").read_text().split())
    assert "less than a twentieth of the time of Real-ESRGAN's x4plus, and comes nearer to what was there" in readme
    section = results.RESULTS.read_text().split("\n## Peers\n")[1].split("\n## ")[0]
    faster = re.findall(r"realesrgan-x4plus for a megapixel of result, ×4 \| .*? \| 20 × \| (\d+) ×", section)
    assert faster
    assert min(map(int, faster)) >= 20
    sets = re.findall(r"^\| .* ×4 \| [\d.]+ \| ([\d.]+) \| ([\d.]+) \|$", section, re.MULTILINE)
    assert len(sets) == 3
    assert all(float(ours) > float(theirs) for theirs, ours in sets)


def test_the_readme_quotes_no_other_measurement() -> None:
    """Memory, seconds, ratios and shares: each would have to be in a table, and to change with it."""
    text = (results.RESULTS.parents[1] / "README.md").read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    quoted = re.findall(r"[\d.]+ (?:MB|GB|ms|dB|s|seconds|minutes|times|×|%)(?=\W)", prose)
    of_the_crops = ["100 %"]
    assert sorted(quoted) == sorted([*of_the_crops, *quoted_figures(text)])


def quoted_figures(readme: str) -> list[str]:
    (told,) = re.findall(r"About (\d+ MB) of memory and (\d+ seconds) on two cores", readme)
    return list(told)


def test_a_run_of_the_benchmark_puts_its_figures_into_the_readme(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("Rust. About 1 MB of memory and 2 seconds on two cores for a photo.\n")
    speed.in_the_readme(581, 13.2, readme)
    assert readme.read_text() == "Rust. About 590 MB of memory and 14 seconds on two cores for a photo.\n"


def test_work_of_others_is_told_apart_from_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """All cores-seconds that were used, ours among them, of those that there were."""
    looks = iter([(100.0, 5.0, 400.0), (190.0, 94.0, 500.0), (100.0, 5.0, 400.0), (190.0, 55.0, 500.0)])
    monkeypatch.setattr(results.Others, "_now", staticmethod(lambda: next(looks)))
    assert results.Others().told() == "The machine was otherwise idle (others took 1.0 % of it)."
    assert "took 40 % of it" in results.Others().told()


def test_a_card_gets_new_figures_and_keeps_everything_else() -> None:
    text = "a:\n  file: a.onnx # its file\n  figures:\n    old: {x: 1}\n  failures:\n    - none\n\nb:\n  file: b.onnx\n"
    found = {"LIVE1, JPEG 10": {"input dB": 25.69, "ours dB": 26.5}}
    line = "    LIVE1, JPEG 10: {input dB: 25.69, ours dB: 26.5}\n"
    head = "  figures: # from benchmarks/RESULTS.md, by benchmarks/cards.py\n"
    with_a = cards.rewritten(text, "a", found)
    assert with_a == text.replace("  figures:\n    old: {x: 1}\n", head + line)
    assert cards.rewritten(text, "b", found) == text + head + line


def test_the_tables_of_a_section_are_read_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(cards, "RESULTS", tmp_path / "RESULTS.md")
    results.rewrite("Quality: text", "Words.\n\n" + results.table(["damage", "input", "ours"], [["noise", "31.0", ""]]))
    results.rewrite("Quality: other", results.table(["a", "b"], [["noise", "2"]]))
    assert list(cards.tables("Quality: text")) == [[{"damage": "noise", "input": "31.0", "ours": ""}]]
    assert cards.figures("text") == {"noise": {"input": 31.0}}
    assert cards.figures("unblur") == {}
    assert cards.figures("a network that finds faces") == {}


def test_twenty_decibels_are_a_tenth_of_full_scale() -> None:
    black = np.zeros((8, 8, 3), np.float32)
    assert measures.psnr(black + np.float32(0.1), black) == pytest.approx(20, abs=1e-3)
    assert measures.psnr(black, black) == 100


def test_an_edge_is_as_wide_as_it_was_drawn() -> None:
    for width in (4.0, 8.0):
        assert measures.edge_width(step_edge(width), 0.0, (31.5, 31.5)) == pytest.approx(0.8 * width, abs=0.3)


def test_a_halo_is_overshoot_and_softness_is_not() -> None:
    truth, soft = (np.float32(0.5) * step_edge(width)[:, 12:52] + np.float32(0.25) for width in (1, 5))
    assert measures.overshoot(soft, truth) == pytest.approx(0, abs=1e-4)
    ringing = (truth + np.float32(0.3) * (truth - soft)).astype(np.float32)
    assert measures.overshoot(ringing, truth) > 1
    assert measures.gain(truth, soft, truth) > 2


def test_noise_is_no_texture_and_blur_takes_it() -> None:
    rng = np.random.default_rng(0)
    truth = (0.5 + 0.05 * rng.standard_normal((64, 64, 1))).astype(np.float32).repeat(3, axis=2)
    everywhere = np.ones((64, 64), bool)
    noisy = truth + (0.05 * rng.standard_normal((64, 64, 1))).astype(np.float32)
    assert measures.texture_kept(noisy, truth, everywhere) == pytest.approx(1, abs=0.05)
    assert measures.texture_kept(truth * 0 + 0.5, truth, everywhere) == pytest.approx(0, abs=1e-6)
    assert measures.noise_left(truth, truth, everywhere) == 0
    assert 5 < measures.noise_left(noisy, truth, everywhere) < 13


@pytest.mark.parametrize(
    ("read", "truth", "rate"),
    [("kitten", "kitten", 0), ("sitting", "kitten", 3 / 6), ("a  b\n", "a b", 0), ("", "abc", 1), ("abcdefgh", "x", 1)],
)
def test_the_error_rate_counts_edits_per_character(read: str, truth: str, rate: float) -> None:
    assert measures.error_rate(read, truth) == pytest.approx(rate)


def test_a_grey_shift_is_a_colour_drift_and_noise_alone_is_little() -> None:
    grey = np.full((64, 64, 3), 0.5, np.float32)
    noise = 0.04 * np.random.default_rng(0).standard_normal((64, 64, 3)).astype(np.float32)
    assert measures.colour_drift(grey + noise, grey).max() < 1
    assert measures.colour_drift(grey * np.array([1.05, 1, 1], np.float32), grey).min() > 2

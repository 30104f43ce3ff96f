"""A photo arrives, whichever way; a better copy of it comes out, in the same sub-folder."""

from pathlib import Path

from tests import pictures
from tests.stories.conftest import Home, noisy


def is_better(copy: Path, seed: int = 0, width: int = 96, height: int = 72) -> bool:
    scene, before = pictures.scene(width, height, seed), noisy(seed, width, height)
    return pictures.psnr(pictures.read(copy), scene) > pictures.psnr(before, scene) + 2


def test_a_photo_dropped_while_the_service_runs_comes_out_better(home: Home) -> None:
    home.start()
    home.photo("cat.png", noisy())
    home.until_done("cat.png")
    assert list(home.results()) == ["cat.png"]
    assert is_better(home.enhanced / "cat.png")


def test_a_photo_dropped_while_the_service_was_stopped_is_done_at_the_next_start(home: Home) -> None:
    home.start()
    home.photo("first.png", noisy(1))
    home.until_done("first.png")
    assert home.stop() == 0
    home.photo("second.png", noisy(2))
    home.start()
    home.until_done("second.png")
    assert sorted(home.results()) == ["first.png", "second.png"]
    assert is_better(home.enhanced / "second.png", 2)


def test_a_photo_written_slowly_in_place_is_read_when_it_is_whole(home: Home, tmp_path: Path) -> None:
    whole = pictures.write_png(tmp_path / "whole.png", noisy()).read_bytes()
    home.start()
    with (home.inbox / "cat.png").open("wb") as file:
        for at in range(0, len(whole), 4000):
            file.write(whole[at : at + 4000])
            file.flush()
    home.until_done("cat.png")
    assert is_better(home.enhanced / "cat.png")
    assert home.status()["problems"] == []


def test_a_folder_moved_in_with_photos_in_it_is_mirrored(home: Home, tmp_path: Path) -> None:
    home.start()
    pictures.write_png(tmp_path / "card/DCIM/100/a.png", noisy(1))
    pictures.write_png(tmp_path / "card/DCIM/101/b.png", noisy(2))
    (tmp_path / "card").rename(home.inbox / "card")
    home.until_done("card/DCIM/100/a.png", "card/DCIM/101/b.png")
    assert sorted(home.results()) == ["card/DCIM/100/a.png", "card/DCIM/101/b.png"]
    assert is_better(home.results()["card/DCIM/101/b.png"], 2)


def test_a_photo_in_a_new_folder_below_a_new_folder_is_mirrored(home: Home) -> None:
    home.start()
    home.photo("2024/summer/cat.png", noisy())
    home.until_done("2024/summer/cat.png")
    assert is_better(home.results()["2024/summer/cat.png"])


def test_a_jpeg_stays_a_jpeg_and_a_png_a_png(home: Home) -> None:
    home.photo("a.jpg", noisy(1))
    home.photo("b.png", noisy(2))
    assert home.once().returncode == 0
    starts = {name: path.read_bytes()[:3] for name, path in home.results().items()}
    assert starts == {"a.jpg": b"\xff\xd8\xff", "b.png": b"\x89PN"}
    assert is_better(home.enhanced / "a.jpg", 1)


def test_a_name_is_only_a_name(home: Home) -> None:
    names = ["ümlaut ☂.png", "with\nnewline.png", "-o.png", "a b [1](2)%s{mode}.png", "red\x1b[31m.png"]
    for seed, name in enumerate(names):
        home.photo(name, noisy(seed))
    answer = home.once()
    assert answer.returncode == 0
    assert sorted(home.results()) == sorted(names)
    assert len(answer.stdout.splitlines()) == len(names)  # no name breaks a line, or colours one
    assert "\x1b" not in answer.stdout + home.typed("status").stdout


def test_names_that_are_no_text_are_served_like_all_others(home: Home) -> None:
    home.photo("good.png", noisy(1))
    folder = home.inbox / "caf\udce9"
    folder.mkdir()
    home.moved_in(pictures.write_png(home.folder / "x.png", noisy(2)), "caf\udce9/na\udcefve.png")
    answer = home.once()
    assert (answer.returncode, sorted(home.results())) == (0, ["caf\udce9/na\udcefve.png", "good.png"]), answer.stderr
    assert home.status()["counts"] == {"done": 2}

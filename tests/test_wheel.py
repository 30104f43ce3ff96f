"""What is handed out: everything is in it, and it works in an empty environment with the network cable pulled."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from darkroomd.places import shipped
from tests import pictures
from tests.command import environment
from tests.container import libraries

ROOT = Path(__file__).parent.parent
PARTS = [
    f"darkroomd/shipped/{folder}/{path.relative_to(shipped(folder))}"
    for folder in ("models", "systemd", "config")
    for path in sorted(shipped(folder).rglob("*"))
    if path.is_file() and "fetched" not in path.parts
]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment with nothing but the wheel, and the libraries that it names at the end of its path."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    base = sys._base_executable  # type: ignore[attr-defined]
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    pip = [sys.executable, "-m", "pip", "--quiet", "--python", str(folder / "bin/python")]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(f"{libraries()}\n")
    return folder


def test_networks_units_the_example_and_the_licence_are_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert set(PARTS) - set(names) == set()
        for card in yaml.safe_load(archive.read("darkroomd/shipped/models/cards.yaml")).values():
            assert card.get("source") or f"darkroomd/shipped/models/{card['file']}" in names
    for text in ("LICENSE", "core_rs/NOTICE"):
        assert any(name.endswith(f"licenses/{text}") for name in names)
    assert {name.split("/")[0].partition("-")[0] for name in names} <= {"darkroomd", "darkroomd.libs"}


def test_the_licences_of_all_that_is_compiled_in_are_told() -> None:
    words = "cargo tree --offline --package darkroomd-core --features extension-module --edges normal,no-proc-macro"
    told = subprocess.run(
        [*words.split(), "--prefix", "none", "--format", "{p}|{l}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = {line.replace(" (*)", "").partition("|")[::2] for line in told.stdout.splitlines()}
    crates = {named.split()[0]: licence for named, licence in lines if not named.startswith("darkroomd-core ")}
    apache, others = (ROOT / "core_rs/NOTICE").read_text().split("Under a licence of its own:")
    assert {name for name in crates if name in re.split(r"[\s,]+", apache)} == {
        name for name, licence in crates.items() if "Apache-2.0" in licence
    }
    assert {name for name in crates if f"  {name}\n" in others} == {
        name for name, licence in crates.items() if "Apache-2.0" not in licence
    }


def test_one_wheel_serves_every_python_from_3_11_on(wheel: Path) -> None:
    assert re.fullmatch(r"darkroomd-[\d.]+-cp311-abi3-(manylinux|linux)\w+\.whl", wheel.name)


def without_network(*words: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    cut = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if shutil.which("unshare") is None or subprocess.run([*cut, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets us make no network of our own (unshare --net)")
    environ = {name: value for name, value in environment(home).items() if name != "PYTHONPATH"}
    return subprocess.run([*cut, *words], cwd=home, env=environ, capture_output=True, text=True, check=False)


def test_without_a_network_an_empty_environment_enhances_a_photo(installed: Path, tmp_path: Path) -> None:
    photo = pictures.write_jpeg(tmp_path / "a.jpg", pictures.with_noise(pictures.scene(128, 96), 14))
    told = without_network(installed / "bin/darkroomd", "enhance", "--json", photo, "-o", "better.jpg", home=tmp_path)
    assert told.returncode == 0, told.stderr
    assert '"status": "done"' in told.stdout
    clean = pictures.scene(128, 96)
    assert pictures.psnr(pictures.read(tmp_path / "better.jpg"), clean) > pictures.psnr(pictures.read(photo), clean)


def test_without_a_network_nothing_is_bad_and_it_is_the_wheel_that_ran(installed: Path, tmp_path: Path) -> None:
    told = without_network(installed / "bin/darkroomd", "doctor", home=tmp_path)
    assert [line for line in told.stdout.splitlines() if not line.startswith("ok ")] == []
    where = "import darkroomd, socket; print(darkroomd.__file__); socket.create_connection(('192.0.2.1', 9), 1)"
    told = without_network(installed / "bin/python", "-c", where, home=tmp_path)
    assert Path(told.stdout.strip()).is_relative_to(installed)
    assert "Network is unreachable" in told.stderr


def test_the_sdist_has_everything_that_it_takes_to_build_the_wheel(wheel: Path, tmp_path: Path) -> None:
    maturin = Path(sys.prefix) / "bin/maturin"
    subprocess.run([maturin, "sdist", "--out", tmp_path], cwd=ROOT, capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        sdist.extractall(tmp_path, filter="data")
    (source,) = tmp_path.glob("darkroomd-*/")
    built = subprocess.run(
        [maturin, "build", "--release", "--offline", "--out", tmp_path / "built"],
        cwd=source,
        env=os.environ | {"CARGO_TARGET_DIR": str(ROOT / "target")},  # the crates that we use are compiled already
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (again,) = (tmp_path / "built").glob("*.whl")
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(again) as second:
        assert first.namelist() == second.namelist()

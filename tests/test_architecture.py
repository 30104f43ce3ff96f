"""Who may import whom: read from the sources, so that the table in docs/architecture.md cannot lie.

The tables fail in both directions: an import that is not in them, and a row that nobody uses.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "daemon/darkroomd"
CRATE = ROOT / "core_rs/src"

STAGES = ("picture", "look", "enhance", "guard", "save", "write")

# A file, and the files of ours that it imports: at the top, or late inside a function.
MAY_IMPORT = {
    # what a person starts
    "__main__": "cli",
    "cli": "by_hand config confine device doctor errors fetch install job log manual metrics models places record say"
    " service shape status workers",
    "by_hand": "config device enhance errors guard job look models original picture pipeline plan save scratch settle"
    " transparent watch write",
    "doctor": "_core config confine device errors job models openvino picture watch",
    "install": "config errors openvino places",
    "status": "config record",
    "metrics": "config errors job record systemd",
    "say": "job log",
    "manual": "",
    # the service's own process, which stays small
    "service": "config device errors job plan polite record settle systemd watch why workers write",
    "why": "inside job write",
    "systemd": "",
    "watch": "job",
    "settle": "job",
    "plan": "config errors job",
    "polite": "",
    "record": "errors job ledger_file",
    "ledger_file": "errors",
    "workers": "confine errors job worker",
    "worker": "confine errors hands job polite",
    "hands": "errors job original write",
    "confine": "job places",
    "log": "",
    # one photo, in a worker
    "pipeline": "device enhance errors guard hands job light look original picture save scratch transparent write xmp",
    "original": "errors inside job",
    "picture": "colour errors exif gain_map heic iptc job jxl raw scratch",
    "heic": "errors job",
    "raw": "errors job",
    "jxl": "errors job",
    "colour": "job",
    "scratch": "_core errors polite",
    "save": "colour container errors exif gain_map iptc job scratch xmp",
    "gain_map": "container",
    "container": "",
    "exif": "",
    "iptc": "",
    "xmp": "",
    "look": "_core content device faces job lines resolution scratch tiles",
    "content": "job scratch",
    "resolution": "scratch",
    "enhance": "_core device errors grain job models need pace regions scratch tone",
    "pace": "device errors models places",
    "tiles": "scratch",
    "need": "_core job scratch",
    "guard": "_core job need scratch",
    "write": "errors inside job",
    "inside": "",
    "faces": "device job scratch",
    "lines": "device job scratch",
    "regions": "job",
    "grain": "_core scratch",
    "light": "_core job scratch",
    "tone": "scratch",
    "transparent": "_core job scratch",
    "models": "errors places",
    "device": "errors half job models openvino places polite",
    "openvino": "errors",
    "half": "errors",
    # detectors of others
    "fetch": "errors models places",
    # what a config says
    "config": "errors job marks models overlap places shape",
    "shape": "job marks polite",
    "marks": "",
    "overlap": "",
    "places": "",
    # what everything else may know
    "job": "",
    "errors": "",
    "__init__": "",
}

# A library, and the only files that know it.
KNOWN_IN = {
    "pyvips": "colour picture save",
    "pi_heif": "heic",
    "rawpy": "raw",
    "imagecodecs": "jxl",
    "onnxruntime": "device",
    "openvino": "openvino",
    "onnx": "half",
    "numpy": (
        "colour content device enhance faces grain guard half heic jxl light lines look need pace picture raw regions "
        "resolution save scratch tiles tone transparent"
    ),
    "watchdog": "watch",
    "sqlite3": "ledger_file record",
    "sdnotify": "systemd",
    "pydantic": "shape",
    "pydantic_core": "shape",
    "structlog": "log service",
    "prometheus_client": "metrics",
    "click": "cli",
    "rich": "cli",
    "yaml": "marks models",
}

# The same for Rust: a file, and the modules that it takes from its own crate. Tests inside a file may take more.
RUST_MAY_USE = {
    "lib": "",
    "error": "",
    "image": "error",
    "tiles": "error image",
    "pad": "error image",
    "colour": "image",
    "cut": "colour error image pad tiles",
    "blend": "colour error image",
    "canvas": "blend colour error image tiles",
    "measure": "colour error image",
    "resize": "error image",
    "py": "blend canvas colour cut error image measure pad resize tiles",
}
RUST_KNOWN_IN = {
    "pyo3": "py",
    "numpy": "py",
    "half": "image py",
    "rayon": "blend colour measure resize",
}


def words(table: dict[str, str]) -> dict[str, set[str]]:
    return {name: set(others.split()) for name, others in table.items()}


def imports(source: str) -> Iterator[str]:
    """The dotted name of every module that a Python source imports, wherever in it that stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise AssertionError(f"line {node.lineno}: a relative import")
            if node.module == "darkroomd":
                yield from (f"darkroomd.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def python_files() -> dict[str, str]:
    return {path.stem: path.read_text() for path in sorted(PACKAGE.glob("*.py"))}


def ours(source: str) -> set[str]:
    return {name.split(".")[1] for name in imports(source) if name.startswith("darkroomd.")}


def libraries(source: str) -> set[str]:
    tops = {name.split(".")[0] for name in imports(source)}
    return tops - {"darkroomd"} - (sys.stdlib_module_names - KNOWN_IN.keys())


def rust_files() -> dict[str, str]:
    """Every source without its tests and without its comments."""
    texts = {path.stem: path.read_text().split("#[cfg(test)]")[0] for path in sorted(CRATE.glob("*.rs"))}
    return {name: re.sub(r"//[^\n]*", "", text) for name, text in texts.items()}


def users_of(table: dict[str, set[str]]) -> dict[str, set[str]]:
    """A table of (user, what it uses) the other way round."""
    turned: dict[str, set[str]] = {}
    for user, used in table.items():
        for name in used:
            turned.setdefault(name, set()).add(user)
    return turned


def run_python(program: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, check=True)


# Python


def test_every_file_imports_what_the_table_says_no_more_and_no_less() -> None:
    assert {name: ours(source) for name, source in python_files().items()} == words(MAY_IMPORT)


def test_an_import_inside_a_function_is_seen() -> None:
    late = "def f():\n  from darkroomd import picture\n  import darkroomd.look\n  from darkroomd.write import stage"
    assert ours(late) == {"picture", "look", "write"}


@pytest.mark.parametrize("stage", STAGES)
def test_stages_do_not_know_each_other(stage: str) -> None:
    assert ours(python_files()[stage]) & {*STAGES, "pipeline", "service"} == set()


def test_nobody_imports_in_a_circle() -> None:
    table = words(MAY_IMPORT)
    free = {"_core"}
    while layer := {name for name, needs in table.items() if name not in free and needs <= free}:
        free |= layer
    assert table.keys() - free == set()


def test_one_library_lives_in_one_file() -> None:
    assert users_of({name: libraries(source) for name, source in python_files().items()}) == words(KNOWN_IN)


def test_there_are_no_imports_for_type_checkers_alone() -> None:
    assert [name for name, source in python_files().items() if "TYPE_CHECKING" in source] == []


def test_the_tables_in_the_docs_are_these() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    shown = {
        ending: {
            name: set(re.findall(r"`(\w+)`", needs))
            for name, needs in re.findall(rf"^\| `(\w+)\{ending}` \|([^|]*)\|", text, re.MULTILINE)
        }
        for ending in (".py", ".rs")
    }
    python = {name: needs for name, needs in words(MAY_IMPORT).items() if not name.startswith("__")}
    rust = {name: needs for name, needs in words(RUST_MAY_USE).items() if name != "lib"}
    assert shown == {".py": python, ".rs": rust}


# What is loaded, and when


@pytest.mark.parametrize("command", ["", "run", "enhance", "models"])
def test_help_loads_neither_numpy_nor_libvips_nor_the_network_runtime(command: str) -> None:
    program = f"""
import sys
from darkroomd.cli import main
main([*{command.split()!r}, "--help"], standalone_mode=False)
print(sorted({{"numpy", "onnxruntime", "pyvips", "darkroomd._core"}} & set(sys.modules)))
"""
    shown = run_python(program).stdout
    assert "Usage:" in shown
    assert shown.splitlines()[-1] == "[]"


def test_the_service_process_stays_small() -> None:
    program = """
import sys
from darkroomd import config, log, models, plan, record, service, status, workers
config.defaults(), models.digests()
print(sorted({"numpy", "onnxruntime", "pyvips", "darkroomd._core", "darkroomd.pipeline"} & set(sys.modules)))
"""
    assert run_python(program).stdout == "[]\n"


# Rust


def test_every_rust_file_uses_what_the_table_says_no_more_and_no_less() -> None:
    used = {name: set(re.findall(r"\bcrate::(\w+)", text)) for name, text in rust_files().items()}
    assert used == words(RUST_MAY_USE)


def test_one_crate_lives_in_few_rust_files() -> None:
    used = {name: set(re.findall(r"\buse (pyo3|numpy|half|rayon)\b", text)) for name, text in rust_files().items()}
    assert users_of(used) == words(RUST_KNOWN_IN)


def test_rust_never_calls_python_back() -> None:
    text = rust_files()["py"]
    assert re.findall(r"\.(?:call|call0|call1|call_method\w*|import)\(", text) == []


def test_the_map_of_the_crate_names_every_file() -> None:
    described = re.findall(r"^//! - `(\w+)`:", (CRATE / "lib.rs").read_text(), re.MULTILINE)
    assert sorted([*described, "lib"]) == sorted(rust_files())

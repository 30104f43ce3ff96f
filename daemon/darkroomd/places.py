"""Where things lie on disk, by the conventions of XDG and systemd."""

import os
from collections.abc import Mapping
from pathlib import Path

LEDGER = "ledger.sqlite"
HERE = Path(__file__).resolve().parent


def shipped_folder() -> Path:
    """Networks, cards and built-in modes."""
    return shipped("models")


def shipped(name: str) -> Path:
    """A folder that comes with darkroomd: `models`, `systemd` or `config`. In a checkout, links lead to its own."""
    inside = HERE / "shipped" / name
    return inside if inside.is_dir() else HERE.parent.parent / name  # links do not survive everywhere


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's config.yaml if it exists, else the system's (which may not exist either)."""
    mine = _xdg(environ, "XDG_CONFIG_HOME", ".config") / "config.yaml"
    return mine if mine.exists() else Path("/etc/darkroomd/config.yaml")


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the ledger lives: $STATE_DIRECTORY under systemd, else the user's state folder."""
    given = environ.get("STATE_DIRECTORY")
    return Path(given.split(":")[0]) if given else _xdg(environ, "XDG_STATE_HOME", ".local/state")


def asked_state_folder(environ: Mapping[str, str] = os.environ, system: Path = Path("/var/lib/darkroomd")) -> Path:
    """Whose ledger `status` and `retry` mean: one's own, or else that of the system's service where one may read it."""
    mine = state_folder(environ)
    if "STATE_DIRECTORY" in environ or (mine / LEDGER).exists() or not os.access(system / LEDGER, os.R_OK | os.W_OK):
        return mine
    return system


def engines_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where what TensorRT has built is kept: it can be made again, in minutes."""
    return state_folder(environ) / "tensorrt"


def tiles_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where it is noted how large tiles are best on this machine: it can be measured again, in a second."""
    given = environ.get("CACHE_DIRECTORY")
    return (Path(given.split(":")[0]) if given else _xdg(environ, "XDG_CACHE_HOME", ".cache")) / "tiles"


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    given = environ.get(variable)
    base = Path(given) if given else Path(environ.get("HOME", str(Path.home()))) / fallback
    return base / "darkroomd"

"""Where things lie on disk, by the conventions of XDG and systemd."""

import os
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent


def shipped_folder() -> Path:
    """Networks, cards and built-in modes: inside an installed wheel, or models/ of a source checkout."""
    inside = HERE / "shipped"
    return inside if inside.is_dir() else HERE.parent.parent / "models"


def config_file(environ: Mapping[str, str] = os.environ) -> Path:
    """The user's config.yaml if it exists, else the system's (which may not exist either)."""
    mine = _xdg(environ, "XDG_CONFIG_HOME", ".config") / "config.yaml"
    return mine if mine.exists() else Path("/etc/darkroomd/config.yaml")


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the ledger lives: $STATE_DIRECTORY under systemd, else the user's state folder."""
    given = environ.get("STATE_DIRECTORY")
    return Path(given.split(":")[0]) if given else _xdg(environ, "XDG_STATE_HOME", ".local/state")


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    given = environ.get(variable)
    base = Path(given) if given else Path(environ.get("HOME", str(Path.home()))) / fallback
    return base / "darkroomd"

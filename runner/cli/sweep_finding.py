"""`sweep=latest`, `sweep=auto` and `sweep=FOLDER`: the sweep that goes on.

It is found before Hydra composes anything, since Hydra has to know the folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from runner.cli.overrides import FOLDER, for_hydra, text_of
from runner.cli.run_folder import name_of
from runner.cli.sweeping import typed
from runner.cli.sweeping.record import RECORD, Record
from runner.errors import ConfigError

ROOT = "multirun"
_DIR = "hydra.sweep.dir="
_FLAGS = ("-m", "--multirun")


def settled(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the folder of the sweep that goes on; a new sweep needs none.

    Args:
        arguments: normalized ones.

    Raises:
        ConfigError: there is no such sweep, or this is not a sweep.
    """
    named = [argument for argument in arguments if argument.startswith(f"{FOLDER}=")]
    if not named:
        return list(arguments)
    if not {*_FLAGS, "hydra.mode=MULTIRUN"} & set(arguments):
        raise ConfigError("sweep= is for sweeps: veles-run -m")
    wanted = text_of(named[-1])
    if not wanted:
        raise ConfigError("sweep= names no sweep: sweep=FOLDER, sweep=latest or sweep=auto")
    rest = [argument for argument in arguments if not argument.startswith(f"{FOLDER}=")]
    folder = _found(wanted, rest)
    if folder is None:
        return rest
    placed = [argument for argument in rest if not argument.startswith(_DIR)]
    return [for_hydra(FOLDER, str(folder)), for_hydra(_DIR[:-1], str(folder)), *placed]


def _found(wanted: str, arguments: Sequence[str]) -> Path | None:
    """Returns the folder of the sweep; None if `auto` is to begin a new one."""
    placed = next((Path(text_of(text)) for text in arguments if text.startswith(_DIR)), None)
    if wanted not in ("latest", "auto"):
        return _checked(Path(wanted), placed)
    where = placed or Path(ROOT, name_of(arguments))
    folders = sorted(_sweeps(where), key=lambda folder: (folder / RECORD).stat().st_mtime_ns, reverse=True)
    if wanted == "auto":
        now = typed.swept_values(argument for argument in arguments if not argument.startswith("-"))
        return next((folder for folder in folders if (found := Record.read(folder)) and found.is_same(now)), None)
    if not folders:
        raise ConfigError(f"sweep=latest: there is no sweep in {where}; sweep=auto begins one then")
    return folders[0]


def _checked(folder: Path, placed: Path | None) -> Path:
    if placed is not None and placed != folder:
        raise ConfigError(f"sweep={folder} and {_DIR}{placed} are two folders: leave one of them out")
    if not folder.is_dir():
        raise ConfigError(f"sweep={folder}: there is no such folder; sweep=latest is the newest sweep, sweep=auto begins one")
    if not (folder / RECORD).is_file():
        hint = f": that is a job of the sweep {folder.parent}" if (folder.parent / RECORD).is_file() else ""
        raise ConfigError(f"sweep={folder} is not the folder of a sweep{hint}")
    if Record.read(folder) is None:
        raise ConfigError(f"{folder / RECORD} cannot be read, without which the sweep cannot go on: begin a new one")
    return folder


def _sweeps(where: Path) -> list[Path]:
    """Returns the folders of sweeps: this one, or those two levels below, by date and time."""
    return [path.parent for pattern in (RECORD, f"*/*/{RECORD}") for path in where.glob(pattern)]

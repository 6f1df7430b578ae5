"""The folder of a run, which Hydra makes, with its configuration and the log."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from runner.cli import conf_files, parallel
from runner.errors import ConfigError
from runner.snapshots.stores.file_system import of_folder

LONGEST = 200
"""Bytes of a log's name."""

_kept: set[str] = set()
_others: set[str] = set()
_new: list[Path] = []
"""The folder of the run, or of the sweep, and those above it, as far as they are about to be made."""


def name_runs(arguments: Sequence[str] = ()) -> None:
    """Gives folders of runs their names: `outputs/mnist/2026-11-24/11-24-19-dfc837`.

    Two runs that start in the same second have different folders, and all jobs of a sweep have one above theirs.

    Args:
        arguments: normalized ones.
    """
    time = parallel.here().share("run_time", lambda: f"{datetime.now():%H-%M-%S}-{secrets.token_hex(3)}")
    name = name_of(arguments)
    OmegaConf.register_new_resolver("run_time", lambda: time, replace=True)
    OmegaConf.register_new_resolver("run_name", lambda: name, replace=True)


def note_new(folder: str | Path) -> None:
    """Notes what has to be made for the folder of a run, or of a sweep."""
    path = Path(folder).absolute()
    with suppress(OSError):  # of which Hydra says more when it makes them
        # The first of several processes looks, before any of them makes one.
        missing = parallel.here().share(
            f"new/{path}", lambda: "\n".join(str(made) for made in (path, *path.parents) if not made.exists())
        )
        _new[:] = map(Path, missing.splitlines())


def name_of(arguments: Sequence[str]) -> str:
    """Returns the name of the conf; without one, that of the class or the snapshot that was typed."""
    typed = {key.lstrip("+"): value.strip("'\"") for key, _, value in (argument.partition("=") for argument in arguments)}
    confs = typed.get("conf", "").split(",")
    snapshot = re.match(r"(?:.*/)?([^/]+?)_(?:validation|train|current)[_.][^/]*$", typed.get("snapshot", ""))
    name = ",".join(map(conf_files.title, confs)) or typed.get("workflow._target_", "").rpartition(".")[2]
    return re.sub(r"[^\w.,+-]+", "_", name or (snapshot[1] if snapshot else "snapshot"))[:80].lstrip(".") or "_"


def check_log_name() -> None:
    """Raises a ConfigError if the log, which has the name of Hydra's job, would not be a file in the run's folder."""
    name = HydraConfig.get().job.name
    if not name or Path(name).name != name or not name.isprintable() or len(name.encode()) > LONGEST:
        raise ConfigError(f"hydra.job.name={name!r} is the name of the run's log, and must be that of a file: a word")


def keep(folder: str) -> None:
    """Notes that the folder is worth keeping: a run has begun, or the log says what went wrong."""
    _kept.add(folder)


def leave_to_first(folder: str) -> None:
    """Notes that the folder is that of the first of several processes: here, it is removed only if nothing is in it."""
    _others.add(folder)


def is_passing(folder: str) -> bool:
    """Whether this process has named the folder, so that it is removed if nothing runs."""
    return bool(Path(folder).name == OmegaConf.create({"time": "${run_time:}"}).time)


def discard(folder: str) -> None:
    """Removes the folder of what did not run, and the folders above it that are empty then.

    Only what this process has made is removed: any other may hold what earlier runs have left.
    """
    from runner.metrics.run_files import METRICS, RESULT

    path = Path(folder)
    if path.absolute() not in _new or folder in _kept or (not is_passing(folder) and (path / RESULT).exists()):
        return  # it was there before, or has what was asked for: the result of an evaluation
    if folder in _others:
        _remove_empty()
        return
    with suppress(OSError):  # it holds something of the user's own, such as a drawing
        written = (f"{HydraConfig.get().job.name}.log", METRICS, RESULT)
        for file in (*(path / name for name in written), *path.glob(".hydra/*.yaml")):
            file.unlink(missing_ok=True)
        (path / ".hydra").rmdir()
        _remove_empty()


def discard_sweep(folder: Path) -> None:
    """Removes the folder of a sweep of which no job has begun, if this process has made it, and those above that are empty."""
    if folder.absolute() in _new:
        shutil.rmtree(folder, ignore_errors=True)
        _remove_empty()


def _remove_empty() -> None:
    with suppress(OSError):  # the first one that is not empty
        for empty in _new:
            if empty.exists():
                empty.rmdir()


def permit(folder: str, mode: int | None) -> None:
    """Gives the folder of a run, and what Hydra has put into it, the permissions of `snapshotter.mode`.

    A folder that holds anything else was there before the run, and is left as it is.

    Args:
        folder: the run's.
        mode: for files; nothing is done if None.
    """
    if mode is None:
        return
    with suppress(OSError):  # the log is opened with its first line, which must find it closed to others
        (Path(folder) / f"{HydraConfig.get().job.name}.log").touch(mode & 0o666)
    own = list(_made_by_hydra(Path(folder)))
    if set(Path(folder).iterdir()) <= set(own):
        own.append(Path(folder))
    for path in own:
        path.chmod(of_folder(mode) if path.is_dir() else mode & 0o666)


def _made_by_hydra(folder: Path) -> Iterator[Path]:
    hydra = HydraConfig.get()
    of_sweep = [Path(hydra.sweep.dir) / "multirun.yaml"] if hydra.mode is RunMode.MULTIRUN else []
    for path in (folder / f"{hydra.job.name}.log", folder / ".hydra", *folder.glob(".hydra/*.yaml"), *of_sweep):
        if path.exists() and not path.is_symlink():
            yield path

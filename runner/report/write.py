"""Writes the report of a folder, whichever kind it is."""

from __future__ import annotations

import stat
from pathlib import Path

from runner.errors import ConfigError
from runner.graph import Workflow
from runner.report import page
from runner.report.run_report import run_report, stored_report
from runner.report.sweep_jobs import is_sweep
from runner.report.sweep_report import sweep_report
from runner.snapshots.format.header import Header
from runner.snapshots.stores.store import Store
from runner.whole_file import whole_file

NAME = "report.html"
"""The file, in the folder that it is of."""


def write_report(
    folder: str | Path, workflow: Workflow | None = None, *, hurried: bool = False, to: Path | None = None
) -> Path:
    """Writes `report.html` into the folder of a run or of a sweep, and returns its path.

    What the folder does not have is left out. Nothing that a snapshot or a file brings is run, and none of it is more than text
    in the page.

    Args:
        folder: of a run, with its snapshots; or of a sweep.
        workflow: the run's, if it is at hand. Default: restored from the newest snapshot in the folder, as far as the default
            restore allows.
        hurried: whether to leave out what takes time: the drawing of the graph, and snapshots in databases and at URLs.
        to: another folder to write it into.

    Raises:
        ConfigError: there is no such folder, nothing of a run in it, or the report cannot be written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ConfigError(f"{str(folder)!r} is not a folder: a report is of the folder of a run, or of a sweep")
    if workflow is None and is_sweep(folder):
        text = page.render("sweep.html", sweep_report(folder))
    else:
        text = page.render("run.html", run_report(folder, workflow, hurried))
    return _write(to or folder, text, _mode(folder))


def write_stored(to: Path, store: Store, newest: Header) -> Path:
    """Writes `report.html` of a run of which there are only snapshots, such as in a database, and returns its path.

    Args:
        to: the folder to write it into.
        store: where the snapshots are.
        newest: the header of the run's newest one.

    Raises:
        ConfigError: it cannot be written.
    """
    return _write(to, page.render("run.html", stored_report(store, newest)), 0o666)


def _write(folder: Path, text: str, mode: int) -> Path:
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path, mode) as file:
            file.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written: {error.strerror}") from error
    return path


def _mode(folder: Path) -> int:
    """Returns the permissions that the run has given to its other files."""
    try:
        return stat.S_IMODE((folder / ".hydra" / "config.yaml").stat().st_mode)
    except OSError:
        return 0o666

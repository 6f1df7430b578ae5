"""Where the study of a search is: in a journal in the sweep's folder, or in a database, which other sweeps may share."""

from __future__ import annotations

import fcntl
import json
import os
import re
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # Optuna's page on locks names it, and exports it nowhere

from runner.errors import ConfigError
from runner.whole_file import whole_file

JOURNAL = "study.journal"
IN_JOURNAL = "sweep"
"""The name of a study that has a journal of its own."""
PLACE = "study.json"
"""The file that says which study of a database is the sweep's."""
_UNUSUAL = re.compile(r"[^\w./-]", re.ASCII)


class _Lock(BaseJournalFileLock):
    """A lock of the kernel's, so that a killed process holds nothing up, where Optuna's own would for half a minute.

    Whoever has it takes away half a line, which a power failure may have left and on which Optuna would stumble.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.with_name(f".{path.name}.lock")
        self._descriptor = -1

    def acquire(self) -> bool:
        self._descriptor = os.open(
            self._path.with_name(f".{self._path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
        )
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            if end and not _ends_a_line(file, end):
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        os.close(self._descriptor)


def _ends_a_line(file: Any, end: int) -> bool:
    file.seek(end - 1)
    return bool(file.read(1) == b"\n")


def name_of(folder: Path, url: str | None, seed: int) -> str:
    """Returns the name of a sweep's study, which no other one in its database has.

    Args:
        folder: the sweep's.
        url: that of the database, as `passwords.conceal_url` returned it; None for the journal.
        seed: what was drawn for the sweep, once for all.

    Raises:
        ConfigError: the study is somewhere else.
    """
    known = _read(folder)
    if url is None:
        if known is not None:
            raise ConfigError(f"the study of this sweep is in a database: type hydra.sweeper.storage={known['storage']}")
        return IN_JOURNAL
    if (folder / JOURNAL).exists():
        raise ConfigError(f"the study of this sweep is {folder / JOURNAL}: leave hydra.sweeper.storage out")
    if known is not None:
        return known["study_name"]
    return _UNUSUAL.sub("_", "/".join([*folder.parts[-3:], f"{seed:08x}"]))


def is_known(folder: Path) -> bool:
    """Whether the sweep has a study in a database already."""
    return _read(folder) is not None


def note(folder: Path, url: str, name: str) -> None:
    """Notes in the sweep's folder which study of a database is the sweep's.

    Raises:
        OSError: it cannot be written.
    """
    with whole_file(folder / PLACE) as file:
        file.write_text(json.dumps({"storage": url, "study_name": name}, indent=1) + "\n")


def _read(folder: Path) -> dict[str, str] | None:
    """Raises a ConfigError if the file is there and says nothing: another study would be begun."""
    try:
        found = json.loads((folder / PLACE).read_bytes())
        return {name: str(found[name]) for name in ("storage", "study_name")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{folder / PLACE}, which says where the study is, cannot be read: begin a new sweep") from error


def storage(folder: Path, url: str | None, *, patient: bool = False) -> BaseStorage:
    """Opens what the study is in.

    Args:
        folder: the sweep's.
        url: that of the database, as `passwords.conceal_url` returned it; None for the journal.
        patient: whether to wait for a database that does not answer, since it has answered before.

    Raises:
        ConfigError: the database cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    if url is not None:
        from runner.cli.sweeping import study_database  # SQLAlchemy takes its time

        return study_database.opened(url, patient=patient)
    path = folder / JOURNAL
    return JournalStorage(JournalFileBackend(str(path), _Lock(path)))

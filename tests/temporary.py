"""One folder for all that the tests and their processes put where temporary files go, so that nothing of it stays.

pytest keeps the folders of tests that have failed beside it. The database servers have another one in memory, since they wait
for the disk with each database that is made.
"""

import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

PREFIX = "veles-tests-"
MEMORY = Path("/dev/shm")
ROOM = 2 << 30
"""Bytes that must be free in memory for the servers of one process; PostgreSQL's log alone may take half of it."""
SERVERS = "VELES_TESTS_SERVERS"
"""The variable of the environment that names the folder of the servers."""


def begin() -> None:
    """Makes the folders for this process and its children until it ends; removes those of sessions that were killed."""
    outside = Path(tempfile.gettempdir())
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(outside))
    os.environ["TMPDIR"] = tempfile.tempdir = str(_folder_in(outside))
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM * (os.cpu_count() or 1)
    os.environ[SERVERS] = str(_folder_in(MEMORY)) if has_room else tempfile.tempdir


def _folder_in(place: Path) -> Path:
    for folder in place.glob(f"{PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(PREFIX).partition("-")[0]).is_dir():
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
    folder.chmod(0o711)  # the database servers of root's tests are other users
    # Of all finalizers the last one: multiprocessing removes its own folder, which is in this one, at -100.
    Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-200)
    return folder

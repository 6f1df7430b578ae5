"""One folder for all that the tests and their processes put where temporary files go, so that nothing of it stays.

pytest keeps the folders of tests that have failed beside it.
"""

import os
import shutil
import tempfile
from multiprocessing.util import Finalize
from pathlib import Path

PREFIX = "veles-tests-"


def begin() -> None:
    """Makes the folder for this process and its children until it ends; removes those of sessions that were killed."""
    outside = Path(tempfile.gettempdir())
    for folder in outside.glob(f"{PREFIX}*"):
        if not Path("/proc", folder.name.removeprefix(PREFIX).partition("-")[0]).is_dir():
            shutil.rmtree(folder, ignore_errors=True)
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(outside))
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    folder.chmod(0o711)  # the database servers of root's tests are other users
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    # Of all finalizers the last one: multiprocessing removes its own folder, which is in this one, at -100.
    Finalize(None, shutil.rmtree, args=(folder,), kwargs={"ignore_errors": True}, exitpriority=-200)

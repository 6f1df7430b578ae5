"""What errors of the file system are told as, with what to do about them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from runner.errors import SnapshotError, SnapshotNotFoundError, StoreError
from runner.snapshots.stores.location import SNAPSHOT_WORDS
from runner.snapshots.stores.snapshot_names import may_have_waited

WRITE = "write to"

_ELSEWHERE = "or choose another folder (for a run: snapshotter.directory=DIR); the existing snapshots stay where they are"
_ADVICE = {
    errno.ENOSPC: f"make room there, {_ELSEWHERE}",
    errno.EDQUOT: f"make room within the quota, {_ELSEWHERE}",
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_ELSEWHERE}",
    errno.EROFS: f"mount it for writing, {_ELSEWHERE}",
    errno.ENAMETOOLONG: "choose a shorter path (for a run: snapshotter.directory=DIR)",
    errno.EPERM: f"allow this user to write there (lsattr shows whether nobody may), {_ELSEWHERE}",
    errno.ENOTDIR: f"move away what has taken the place of a folder there, {_ELSEWHERE}",
    errno.EACCES: f"allow this user to write there, {_ELSEWHERE}",
}


@contextmanager
def translated(action: str, path: str | Path) -> Iterator[None]:
    """Within it, an error of the file system is one of ours, which says what to do.

    Args:
        action: what is done, such as `WRITE`.
        path: what it is done to.

    Raises:
        SnapshotNotFoundError: the snapshot to be read is not there, or is not a file.
        StoreError: anything else.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, SnapshotError):
            raise
        if isinstance(error, FileNotFoundError | NotADirectoryError) and action != WRITE:
            keyword = get_close_matches(str(path).lower(), SNAPSHOT_WORDS, 1, 0.7)
            hint = f"; did you mean {keyword[0]!r}?" if keyword else ""
            if str(path) in SNAPSHOT_WORDS:
                hint = f": {path} is a word of veles-run's; name a file, or a location odbc://..."
            if may_have_waited(str(path)):
                hint = "; it has probably been delivered from this spool: snapshot=latest, with the store that it waited for"
            raise SnapshotNotFoundError(f"there is no snapshot {str(path)!r}{hint}") from error
        if isinstance(error, IsADirectoryError) and action != WRITE:
            raise SnapshotNotFoundError(f"{str(path)!r} is a folder, not a snapshot: name a file in it") from error
        advice = _ADVICE.get(error.errno or 0) if action == WRITE else None
        reason = f"{error.strerror or error}{f' ({advice})' if advice else ''}"
        raise StoreError(f"cannot {action} {str(path)!r}: {reason}") from error

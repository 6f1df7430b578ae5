"""Limits the memory that a restore may use, so that a small file cannot exhaust it."""

from __future__ import annotations

import threading

from runner.errors import SnapshotRefusedError
from runner.memory import available, resident

RATIO = 1_000
"""Expansion factor that is allowed beyond `SLACK`. Only states of nothing but zeros expand more."""
SLACK = 256 << 20
"""Bytes that any snapshot may decode to."""
FREE = 1 << 20
"""Decoded bytes up to which memory is not checked: this covers most headers, and the check would take longer than decoding."""
OBJECTS_SLACK = 1 << 30
"""Bytes by which the process may always grow, whatever the size of the snapshot."""
PER_STORED, PER_DECODED = 64, 4
"""Further growth allowed for each stored or decoded byte: an empty set takes 216 bytes in memory and two in a pickle."""

_ADVICE = "(if the snapshot is yours: restore.max_bytes=N allows N bytes)"


class Budget:
    """The memory budget of one restore; several threads may spend it.

    Args:
        max_bytes: bytes that a snapshot may decode to, and by which the process may grow. Default: the free memory, but no more
            than a legitimate snapshot of its size may need.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self._encoded = 0
        self._plain = 0
        self._available: int | None = None
        self._resident: int | None = None
        self._lock = threading.Lock()

    def spend(self, encoded: int, plain: int) -> None:
        """Counts encoded bytes and the plain bytes that they decoded to.

        Raises:
            SnapshotRefusedError: the snapshot decodes to more than it may.
        """
        with self._lock:
            self._encoded += encoded
            self._plain += plain
            total = self._plain
        if total <= FREE and self.max_bytes is None:
            return
        self._check("it decodes to", total, RATIO * self._encoded + SLACK)

    def check_growth(self, coming: int = 0) -> None:
        """Checks how much the process has grown since the first check, plus the bytes that it is about to allocate.

        Raises:
            SnapshotRefusedError: that is more than a snapshot of this size may need.
        """
        now = resident()
        if self._resident is None:
            self._resident = now
        grown = now - self._resident + coming
        allowed = OBJECTS_SLACK + max(PER_STORED * self._encoded, PER_DECODED * self._plain)
        self._check("its objects take", grown, max(allowed, OBJECTS_SLACK + 2 * coming))

    def _check(self, what: str, size: int, allowed: int) -> None:
        if self.max_bytes is not None:
            if size > self.max_bytes:
                raise SnapshotRefusedError(f"{what} more than restore.max_bytes={self.max_bytes} bytes")
            return
        if self._available is None:
            self._available = available()
        if size > self._available:
            raise SnapshotRefusedError(f"{what} more than the {self._available} bytes of memory that are free")
        if size > allowed:
            raise SnapshotRefusedError(f"{what} {size} bytes, more than a snapshot of {self._encoded} bytes may {_ADVICE}")

"""How much a snapshot may decode to, so that a small file cannot take all memory."""

from __future__ import annotations

import threading

from runner.errors import SnapshotDamagedError
from runner.snapshots.capture.memory import memory

RATIO = 100_000
"""Times that a snapshot may expand: of all chunks that a codec makes, bz2's of zeros expands most, 87,381-fold."""
SLACK = 1 << 20
"""Bytes that it may always decode to."""


class Budget:
    """What is left for a snapshot to decode to. Several threads may spend it.

    Args:
        limit: bytes in all; the memory that this process may have if None.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._encoded = 0
        self._plain = 0
        self._lock = threading.Lock()

    def spend(self, encoded: int, plain: int) -> None:
        """Counts bytes that were decoded, and what they gave.

        Raises:
            SnapshotDamagedError: it is more than a snapshot may have.
        """
        with self._lock:
            self._encoded += encoded
            self._plain += plain
        if self._plain <= SLACK:
            return  # most headers; to ask for the memory would take longer than to decode them
        if self._limit is None:
            self._limit = memory()
        if self._plain > self._limit:
            raise SnapshotDamagedError(f"it decodes to more than the {self._limit} bytes of memory that there are")
        if self._plain > RATIO * self._encoded + SLACK:
            raise SnapshotDamagedError(f"it expands more than {RATIO}-fold: no snapshot does")

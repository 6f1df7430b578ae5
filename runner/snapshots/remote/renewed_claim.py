"""Claims where there are no locks: an object that is renewed for as long as its process lives."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from runner.errors import RunInUseError, RunnerError, SnapshotNotFoundError, StoreError
from runner.snapshots.format.header import utc_now
from runner.snapshots.remote.services import Files
from runner.snapshots.stores.holder import Holder, refuse
from runner.snapshots.stores.patience import IMPATIENCE, tries

log = logging.getLogger(__name__)

RENEWAL = 5.0
"""Seconds after which a claim is renewed."""
VOID = 30.0
"""Seconds without a renewal after which it is void."""
LARGEST = 4096
"""Bytes of a claim that are read."""
LOOK = 0.5
"""Seconds between two looks at somebody else's."""


class RenewedClaim:
    """Claims a run by an object that only one process can create, and that it writes again every few seconds.

    The objects are `<folder>/.claims/<run>/1`, `2` and so on; the one with the highest number counts. A claim that was not
    renewed for a while is void: whoever creates the next number has the run. That of a process that has ended on this
    machine is void at once. A process that could not renew its claim, and finds a higher number than its own, is asked to
    stop.

    Args:
        place: the URL of the folder.
        run: identifies the run: 16 hexadecimal digits.

    Raises:
        RunInUseError: another process has claimed it.
    """

    def __init__(self, place: str, run: str) -> None:
        self._place = place
        self._folder = f"{place}/.claims/{run}"
        self._over = threading.Event()
        self._number: int | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        self._files, self._holder = Files(self._folder), Holder.me()
        self._number = self._taken()
        if self._number is not None:
            self._thread = threading.Thread(target=self._renew, name="claim", daemon=True)
            self._thread.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is None or self._number is None:
            return
        self._over.set()
        self._thread.join(RENEWAL)
        if not self._thread.is_alive():  # else the service is away, and the claim will be void by itself
            with suppress(StoreError):
                self._files.delete(self._url(self._number))

    def _taken(self) -> int | None:
        """Returns the number of the object that this process has created; None if it has the run already."""
        seen, since = (0, b""), 0.0
        while True:
            number, text = tries(IMPATIENCE)(self._last)
            holder = Holder.read(text)
            if number and not _has_ended(text):
                if holder is not None and holder.process == Holder.me().process:
                    return None
                if seen[0] == number and seen[1] != text:
                    refuse(holder, self._place)  # it was renewed
                if seen[0] != number:
                    seen, since = (number, text), time.monotonic()
                    log.info("%s: waiting up to %g s to see whether it still goes on with the run", holder, VOID)
                if time.monotonic() - since < VOID:
                    time.sleep(LOOK)
                    continue
            with suppress(FileExistsError):  # another process was quicker
                tries(IMPATIENCE)(self._files.create, self._url(number + 1), self._written())
                self._forget(number)
                return number + 1

    def _last(self) -> tuple[int, bytes]:
        """Returns the highest number, and what is written there; 0 if there is none."""
        while numbers := self._numbers():
            last = max(numbers)
            with suppress(SnapshotNotFoundError):  # it has just been given back
                return last, self._files.read(self._url(last), 0, min(numbers[last], LARGEST))
        return 0, b""

    def _numbers(self) -> dict[int, int]:
        return {int(name): size for name, size in self._files.names() if name.isdecimal()}

    def _forget(self, number: int) -> None:
        with suppress(RunnerError):
            for old in self._numbers():
                if old <= number:
                    self._files.delete(self._url(old))

    def _url(self, number: int) -> str:
        return f"{self._folder}/{number}"

    def _written(self) -> bytes:
        """Returns what is written in the claim: who has it, on which machine, and something new."""
        return json.dumps(json.loads(self._holder.written()) | {"machine": _machine(), "renewed": utc_now()}).encode()

    def _renew(self) -> None:
        assert self._number is not None
        while not self._over.wait(RENEWAL):
            try:
                number, text = self._last()
                if number > self._number:
                    refuse(Holder.read(text), self._place)
                self._files.replace(self._url(self._number), self._written())
            except RunInUseError as error:
                log.error("The claim on the run was not renewed in time, and %s; stopping", error)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            except RunnerError as error:  # the service is away: again later
                log.debug("%s", error)


def _machine() -> str:
    """Identifies the machine, since its last start, and the part of it in which process ids are the same."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _has_ended(text: bytes) -> bool:
    """Whether the process that has written a claim has ended, for certain: so it is known only of those on this machine."""
    holder = Holder.read(text)
    if holder is None or not (machine := _machine()) or json.loads(text).get("machine") != machine:
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False

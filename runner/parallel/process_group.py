"""Several processes that share a run, by torch.distributed.

Data only move between them: no collective adds anything up, since the order of its additions could depend on the number of
processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from runner.checks import first_line
from runner.errors import ProcessLostError
from runner.parallel.pairwise import pairwise
from runner.parallel.processes import Processes

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds in which the others say what has become of them, after a connection has broken."""
BUSY = 60.0
"""Seconds more where several have not said it: one that is busy, as with a report, learns late that another is lost."""
BEGIN = 300.0
"""Seconds in which all processes have to be there."""
PAUSE = 0.02
"""Seconds between two looks at what the others have said."""
BEAT = 0.5
"""Seconds after which a process says again that it lives, while it makes what others wait for."""

LEADER_FAILED = "process 0 has failed"
"""How the message begins that repeats what process 0 says."""


class Failure(NamedTuple):
    """What a process says of its end."""

    exit_code: int
    why: str


class Group(Processes):
    """One of several processes.

    They meet at MASTER_ADDR and MASTER_PORT, in a store of torch, where each says what becomes of it.

    Raises:
        ProcessLostError: not all of them came.
    """

    def __init__(self, rank: int, size: int, local_rank: int) -> None:
        self.rank, self.size, self.local_rank = rank, size, local_rank
        self._timeout = BEGIN
        self._shared: dict[str, str] = {}
        self._answers = True
        self._made = 0
        self._given_up: set[int] = set()
        # torchrun has the store in its own process, where it outlives ours.
        self._hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        address = f"env://?rank={rank}&world_size={size}"
        try:
            self._store, _, _ = next(rendezvous(address, timeout=timedelta(seconds=BEGIN)))
        except (RuntimeError, ValueError) as error:
            raise ProcessLostError(f"the {size} processes have not met in {BEGIN:.0f} s: {first_line(error)}") from error

    def connect(self, device: str, timeout: float) -> None:
        if distributed.is_initialized():
            return
        self._timeout = timeout
        if device.startswith("cuda"):
            torch.cuda.set_device(device)
        self._guarded(
            lambda: distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo",
                store=self._store,
                rank=self.rank,
                world_size=self.size,
                timeout=timedelta(seconds=timeout),
            )
        )

    def share(self, name: str, make: Callable[[], str]) -> str:
        if name not in self._shared:
            self._shared[name] = self._told(f"shared/{name}", make)
        return self._shared[name]

    def _told(self, key: str, make: Callable[[], str]) -> str:
        if self.leads:
            text = make()
            self._store.set(key, text)
            return text
        try:
            return self._heard(key)
        except RuntimeError as error:
            raise ProcessLostError("process 0 has ended, where the processes meet") from error

    def _heard(self, key: str) -> str:
        """Returns what process 0 says, when it has said it."""
        while not self._said(key):
            if (failure := self._failure(0)) is not None:
                raise _failed(0, failure)
            time.sleep(PAUSE)
        return self._said(key) or ""

    def neighbors(self) -> list[int]:
        seen = self.gather(torch.tensor(_what_is_seen())).tolist()
        return [rank for rank, other in enumerate(seen) if other == seen[self.rank]]

    def made_by(self, rank: int, make: Callable[[], str]) -> str:
        self._made += 1
        key = f"made/{self._made}/{rank}"
        if rank != self.rank:
            return self._awaited(key, rank)
        with self._beating(f"{key}/beats"):
            text = make()
        try:
            self._within(self._timeout, lambda: self._store.set(key, text))
        except RuntimeError as error:
            raise self._nowhere_to_meet() from error
        return text

    def _awaited(self, key: str, rank: int) -> str:
        """Returns what a process says, when it has said it; it has so many seconds from each beat to the next."""
        heard, known = time.monotonic(), ""
        while True:
            try:
                text, failure, beats = self._within(
                    self._timeout, lambda: (self._said(key), self._failure(rank), self._said(f"{key}/beats"))
                )
            except RuntimeError as error:
                raise self._nowhere_to_meet() from error
            if text is not None:
                return text
            if failure is not None:
                raise _failed(rank, failure)
            if beats is not None and beats != known:
                heard, known = time.monotonic(), beats
            elif time.monotonic() - heard > self._timeout:
                raise ProcessLostError(
                    f"process {rank} of {self.size} has ended, or has not answered for {self._timeout:g} s (parallel.timeout)"
                )
            time.sleep(PAUSE)

    @contextmanager
    def _beating(self, key: str) -> Iterator[None]:
        """Says in the block that this process lives: what it does there may take longer than a process has to answer."""
        ended = threading.Event()

        def beat() -> None:
            with suppress(RuntimeError):  # the store is gone, which the others see themselves
                while True:
                    self._store.add(key, 1)
                    if ended.wait(BEAT):
                        return

        thread = threading.Thread(target=beat, name="beats", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(BEAT)

    def gather(self, mine: Tensor) -> Tensor:
        gathered = mine.new_empty((self.size, *mine.shape))
        self._guarded(lambda: distributed.all_gather(list(gathered), mine))
        return gathered

    def total(self, mine: Tensor) -> Callable[[], None]:
        # Each process sums a part of the row, and gives all the others its part of the sum.
        parts = torch.empty_like(mine)
        under_way = self._guarded(lambda: distributed.all_to_all_single(parts, mine, async_op=True))

        def wait() -> None:
            self._guarded(under_way.wait)
            own = pairwise(list(parts.view(self.size, -1)))
            self._guarded(lambda: distributed.all_gather(list(mine.view(self.size, -1)), own))

        return wait

    def fail(self, why: str, exit_code: int) -> bool:
        def told() -> bool:
            self._store.set(f"failed/{self.rank}", json.dumps([exit_code, why]))
            if self.leads:
                # The others still ask in the store what has happened; those that are lost do not.
                self._stay({*range(1, self.size)} - self._given_up, PATIENCE if self._hosts else 0)
                return True
            leader = self._wait_for(lambda: self._failure(0), 0 if 0 in self._given_up else PATIENCE)
            self._leave()
            return (leader is None or leader.why != why) and not why.startswith(LEADER_FAILED)

        with suppress(RuntimeError):  # the store is where process 0 was, and gone with it
            return self._within(2 * PATIENCE, told)
        return True

    def part(self) -> None:
        def told() -> None:
            self._store.set(f"done/{self.rank}", "1")
            if self.leads:
                self._wait_for(lambda: all(map(self._has_ended, range(self.size))) or None, self._timeout)
                self._stay({*range(1, self.size)}, PATIENCE)
            else:
                self._wait_for(lambda: self._has_ended(0) or None, self._timeout)
                self._leave()

        with suppress(RuntimeError):
            self._within(self._timeout + PATIENCE, told)

    def _within(self, seconds: float, ask: Callable[[], T]) -> T:
        """Returns what asks the store.

        Raises:
            RuntimeError: it does not answer, as where process 0 is stopped; torch would wait for ever.
        """
        found: list[T | RuntimeError] = []

        def run() -> None:
            try:
                found.append(ask())
            except RuntimeError as error:
                found.append(error)

        if self._answers:
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            thread.join(seconds)
            self._answers = bool(found)
        answer = found[0] if found else RuntimeError("process 0 does not answer")
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    def _guarded(self, call: Callable[[], T]) -> T:
        """Calls what needs all processes.

        Raises:
            ProcessLostError: one of them has ended, or does not answer.
        """
        try:
            return call()
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> ProcessLostError:
        """Returns which process is lost: one that has failed, or one that does not even say that it has lost another."""

        try:
            self._within(PATIENCE, lambda: self._store.set(f"lost/{self.rank}", "1"))
            silent = self._silent_for(PATIENCE, at_most=0)
            if len(silent) > 1:
                silent = self._silent_for(min(BUSY, self._timeout), at_most=1)
            self._given_up.update(silent)
            failed = self._within(PATIENCE, self._failures)
        except RuntimeError:
            return self._nowhere_to_meet()
        if self._given_up:
            which = ", ".join(map(str, sorted(self._given_up)))
            return ProcessLostError(
                f"process {which} of {self.size} has ended, or has not answered for {self._timeout:g} s (parallel.timeout)"
            )
        told = next((f"process {rank} has failed: {why}" for rank, why in failed.items() if rank != self.rank), None)
        return ProcessLostError(told or f"the connection of the processes is broken: {first_line(error)}")

    def _nowhere_to_meet(self) -> ProcessLostError:
        """Returns what has become of process 0, if nothing comes from the store."""
        what = "has ended" if self._answers else f"has not answered for {self._timeout:g} s (parallel.timeout)"
        return ProcessLostError(f"process 0 of {self.size} {what}, where the processes meet")

    def _failure(self, rank: int) -> Failure | None:
        said = self._said(f"failed/{rank}")
        return None if said is None else Failure(*json.loads(said))

    def _failures(self) -> dict[int, str]:
        return {rank: failure.why for rank in range(self.size) if (failure := self._failure(rank)) is not None}

    def _silent_for(self, seconds: float, *, at_most: int) -> list[int]:
        """Returns who has not said what has become of it, as soon as that are so few, or after so many seconds."""

        def silent() -> list[int]:
            return [rank for rank in range(self.size) if not self._has_ended(rank)]

        def found() -> list[int]:
            self._wait_for(lambda: len(silent()) <= at_most or None, seconds)
            return silent()

        return self._within(seconds + PATIENCE, found)

    def _leave(self) -> None:
        """Says that this process asks nothing any more."""
        self._store.set(f"left/{self.rank}", "1")

    def _stay(self, others: set[int], seconds: float) -> None:
        """Waits until others ask nothing any more: torch complains of a store that is gone, with a page of C++."""
        self._wait_for(lambda: all(self._said(f"left/{rank}") for rank in others) or None, seconds)

    def _has_ended(self, rank: int) -> bool:
        return any(self._said(f"{how}/{rank}") for how in ("done", "failed", "lost"))

    def _said(self, key: str) -> str | None:
        return self._store.get(key).decode() if self._store.check([key]) else None

    def _wait_for(self, look: Callable[[], T | None], seconds: float) -> T | None:
        """Looks until something is seen; returns it, or None after so many seconds."""
        end = time.monotonic() + seconds
        while (seen := look()) is None and time.monotonic() < end:
            time.sleep(PAUSE)
        return seen


def _failed(rank: int, failure: Failure) -> ProcessLostError:
    """Returns what ends this process since another one has failed; the exit code is the same."""
    lost = ProcessLostError(f"process {rank} has failed: {failure.why}")
    lost.exit_code = failure.exit_code  # type: ignore[misc]
    return lost


def _what_is_seen() -> int:
    """Returns a number that this process has in common with those whose /proc it sees, and no others.

    Processes in containers of their own do not see each other, though they are on one machine.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        text = f"{boot} {os.readlink('/proc/self/ns/pid')} {os.getuid()}"
    except OSError:  # no Linux
        text = secrets.token_hex()
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)

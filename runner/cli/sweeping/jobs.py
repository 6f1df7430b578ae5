"""The jobs of a sweep: which folder each has, and which of them are done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.sweeping import typed
from runner.config.identity import LIMITS
from runner.config.sweeping import Retry
from runner.metrics.run_files import read_result
from runner.report.folder_files import typed_overrides

DONE = ("finished", "pruned")
"""How a job has ended that has nothing left to do."""


@dataclass(frozen=True)
class Job:
    """A job that is to be run.

    Attributes:
        number: its number, by which its folder is called.
        overrides: what Hydra is given for it.
    """

    number: int
    overrides: Sequence[str]


@dataclass(frozen=True)
class Failed:
    """A job that has failed before, and is not repeated.

    Attributes:
        number: its number.
        error: what it has failed with.
        exit_code: the exit code of that.
    """

    number: int
    error: str
    exit_code: int


@dataclass(frozen=True)
class Plan:
    """What a sweep has to do.

    Attributes:
        jobs: those that are to be run.
        done: how many are passed over, since they have ended.
        failed: those that are passed over, since they have failed.
    """

    jobs: Sequence[Job]
    done: int = 0
    failed: Sequence[Failed] = ()


class Folders:
    """The folders that the jobs of a sweep have, by what was typed for each.

    Args:
        folder: the sweep's.
        now: the values that are typed now, by key; with several of them, they tell jobs apart whatever the key is.
    """

    def __init__(self, folder: Path, now: Mapping[str, tuple[str, ...]]) -> None:
        self._folder = folder
        folders = sorted((path for path in folder.glob("*") if path.name.isdecimal()), key=lambda path: int(path.name))
        found = {int(path.name): typed.values(typed_overrides(path)) for path in folders}
        self._typed = {number: values for number, values in found.items() if values}  # else nothing has begun there
        keys = {key for values in self._typed.values() for key in values} | now.keys()
        swept = {key for key in keys if len(now.get(key, ())) > 1}
        differing = {key for key in keys - set(LIMITS) if len({values.get(key) for values in self._typed.values()}) > 1}
        self._apart = swept | differing | set(filter(typed.tells_jobs_apart, keys))
        self._by_values: dict[frozenset[tuple[str, str]], list[int]] = {}
        for number, values in self._typed.items():
            self._by_values.setdefault(self._key(values), []).append(number)

    def plan(self, overrides: Iterable[Sequence[str]], retry: Retry) -> Plan:
        """Returns which jobs are to be run. One whose limit has changed is, whether or not it has ended."""
        jobs, failed, done, taken = list[Job](), list[Failed](), 0, set(self._typed)
        for place, texts in enumerate(overrides):
            values = typed.values(texts)
            known = self._by_values.get(self._key(values))
            if not known:
                # Its place, which it had when the same was typed before, unless another job has that.
                number = place if place not in taken else max(taken) + 1
                taken.add(number)
                jobs.append(Job(number, texts))
                continue
            number = known.pop(0)
            result = read_result(self._folder / str(number)) or {}
            status = result.get("status") if typed.limits(values) == typed.limits(self._typed[number]) else None
            if status in DONE:
                done += 1
            elif status == "failed" and retry is Retry.none:
                failed.append(failed_before(self._folder, number))
            else:
                jobs.append(Job(number, texts))
        return Plan(jobs, done, failed)

    def _key(self, values: Mapping[str, str]) -> frozenset[tuple[str, str]]:
        return frozenset((key, value) for key, value in values.items() if key in self._apart)


def failed_before(folder: Path, number: int) -> Failed:
    """Returns what a job has failed with.

    Args:
        folder: the sweep's.
        number: the job's.
    """
    result = read_result(folder / str(number)) or {}
    code = result.get("exit_code")
    return Failed(number, str(result.get("error") or ""), code if isinstance(code, int) and 0 < code < 256 else 1)

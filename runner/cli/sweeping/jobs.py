"""The jobs of a sweep: which folder each has, and which of them are done."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.cli.sweeping import typed
from runner.config.identity import LIMITS
from runner.config.sweeping import Retry
from runner.metrics.run_files import read_result
from runner.report.folder_files import typed_overrides
from runner.report.sweep_jobs import folders_of_jobs

DONE = ("finished", "pruned")
"""How a job has ended that has nothing left to do."""


@dataclass(frozen=True)
class Job:
    """A job that is to be run.

    Attributes:
        name: of its folder; of one that has none yet, its number.
        overrides: what Hydra is given for it.
    """

    name: str
    overrides: Sequence[str]


@dataclass(frozen=True)
class Failed:
    """A job that has failed before, and is not repeated.

    Attributes:
        name: of its folder.
        error: what it has failed with.
        exit_code: the exit code of that.
    """

    name: str
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
        found = {path.name: typed.values(typed_overrides(path)) for path in folders_of_jobs(folder)}
        self._typed = {name: values for name, values in found.items() if values}  # else nothing has begun there
        keys = {key for values in self._typed.values() for key in values} | now.keys()
        swept = {key for key in keys if len(now.get(key, ())) > 1}
        differing = {key for key in keys - set(LIMITS) if len({values.get(key) for values in self._typed.values()}) > 1}
        self._apart = swept | differing | set(filter(typed.tells_jobs_apart, keys))
        self._by_values: dict[frozenset[tuple[str, str]], list[str]] = {}
        for name, values in self._typed.items():
            self._by_values.setdefault(self._key(values), []).append(name)

    def plan(self, overrides: Iterable[Sequence[str]], retry: Retry) -> Plan:
        """Returns which jobs are to be run. One whose limit has changed is, whether or not it has ended."""
        jobs, failed, done = list[Job](), list[Failed](), 0
        taken = {int(digits) for name in self._typed for digits in re.findall(r"\d+", name)}
        for place, texts in enumerate(overrides):
            values = typed.values(texts)
            known = self._by_values.get(self._key(values))
            if not known:
                # Its place, which it had when the same was typed before, unless another job has that.
                number = place if place not in taken else max(taken) + 1
                taken.add(number)
                jobs.append(Job(str(number), texts))
                continue
            name = known.pop(0)
            result = read_result(self._folder / name) or {}
            status = result.get("status")
            if status in DONE and typed.limits(values) == typed.limits(self._typed[name]):
                done += 1
            elif status == "failed" and retry is Retry.none:
                failed.append(failed_before(self._folder, name))
            else:
                jobs.append(Job(name, texts))
        return Plan(jobs, done, failed)

    def _key(self, values: Mapping[str, str]) -> frozenset[tuple[str, str]]:
        return frozenset((key, value) for key, value in values.items() if key in self._apart)


def failed_before(folder: Path, name: str) -> Failed:
    """Returns what a job has failed with.

    Args:
        folder: the sweep's.
        name: of the job's folder.
    """
    result = read_result(folder / name) or {}
    code = result.get("exit_code")
    return Failed(name, str(result.get("error") or ""), code if isinstance(code, int) and 0 < code < 256 else 1)

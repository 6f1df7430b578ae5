"""Which snapshots are meant: filters as they are typed, and the snapshot that a word stands for."""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from runner.errors import ConfigError
from runner.snapshots.format.header import SPLITS, Header
from runner.snapshots.stores.store import Entry

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_CONDITION = re.compile(r"\s*([^<>=\s]+)\s*(<=|>=|<|>|=)\s*(\S+)\s*")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A filter. What is not given lets everything pass.

    Attributes:
        workflow: the workflow's name.
        run: the beginning of the id of a run, or of one of its processes.
        conditions: on metrics, such as `validation<2`; `error` is the one that ranks snapshots.
        since: time in headers at the earliest, as ISO 8601 in UTC.
        until: and before which.
        tag: a tag that somebody has given it.
    """

    workflow: str | None = None
    run: str = ""
    conditions: Sequence[tuple[str, str, float]] = ()
    since: str = ""
    until: str = "~"
    tag: str | None = None

    def admits(self, header: Header) -> bool:
        """Whether a snapshot with this header passes."""
        if not (self.since <= header.time < self.until) or self.workflow not in (None, header.workflow):
            return False
        if not (header.log_id.startswith(self.run) or header.run_id.startswith(self.run)):
            return False
        return all(_holds(metric(header, name), sign, limit) for name, sign, limit in self.conditions)


def _holds(value: float | None, sign: str, limit: float) -> bool:
    return value is not None and _COMPARE[sign](value, limit)


def metric(header: Header, name: str) -> float | None:
    """Returns a metric by its name, `validation` or `error`; one that is within others as `train.loss`; None if it has none."""
    value: Any = header.score if name in ("error", "score") else header.metrics
    for part in () if name in ("error", "score") else name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value if isinstance(value, (int, float)) else None


def condition(text: str) -> tuple[str, str, float]:
    """Reads a condition on a metric.

    Raises:
        ConfigError: it is none.
    """
    found = _CONDITION.fullmatch(text)
    try:
        if found and not math.isnan(limit := float(found[3])):
            return found[1], found[2], limit
    except ValueError:
        pass
    raise ConfigError(f"{text!r} is not a condition on a metric: NAME, one of < <= > >= =, and a number, as in 'validation<2'")


def moment(text: str, now: datetime | None = None) -> str:
    """Reads an age such as `90m` or `7d`, or a date with or without a time; returns it as headers have times.

    Raises:
        ConfigError: it is neither.
    """
    if found := _AGE.fullmatch(text.strip()):
        try:
            then = (now or datetime.now(UTC)) - timedelta(**{_UNITS[found[2]]: float(found[1])})
        except OverflowError:
            then = datetime.min.replace(tzinfo=UTC)
        return then.isoformat(timespec="microseconds")
    try:
        return datetime.fromisoformat(text.strip()).astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        raise ConfigError(f"{text!r} is neither an age (90m, 12h, 7d, 2w) nor a date (2026-11-24, 2026-11-24T18:00)") from None


class Ranking:
    """Finds the best of snapshots that are given newest first. Errors of different splits and losses are never compared.

    Where runs with a validation set are among them, one of theirs is the best: a training error is low for the reason alone
    that the network has seen the samples. Of several losses or metrics, that of the newest snapshot counts.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._bests: dict[tuple[str | None, str], Entry] = {}
        self._counts = Counter[tuple[str | None, str]]()
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Takes a snapshot into account; one without a score is none of them."""
        header = entry.header
        if header.score is None:
            return
        kind = header.split, header.measure
        self._counts[kind] += 1
        before = self._bests.get(kind)
        if before is None or header.score <= (before.header.score or 0.0):
            self._bests[kind] = entry

    @property
    def _kind(self) -> tuple[str | None, str] | None:
        return next((kind for split in _COMPARED for kind in self._bests if kind[0] == split), None)

    @property
    def best(self) -> Entry | None:
        """The snapshot with the lowest error, of equal ones the oldest, as a run counts epochs; None if none has one."""
        return None if self._kind is None else self._bests[self._kind]

    @property
    def left_out(self) -> str | None:
        """What the best was not compared with, for people; None if it was with all."""
        kind = self._kind
        if kind is None or len(self._bests) < 2:
            return None
        count = self._counts.total() - self._counts[kind]
        which = {"validation": "of the validation set ", "train": "of the training set "}.get(str(kind[0]), "")
        loss = "by one loss and metric " if len({measure for split, measure in self._bests if split == kind[0]}) > 1 else ""
        return f"only errors {which}{loss}are compared, which leaves out {count} snapshot{'' if count == 1 else 's'}"


_COMPARED = (*SPLITS, None)


def best_of(entries: Iterable[Entry]) -> Entry | None:
    """Returns the best of snapshots that are given newest first; None if none has a score."""
    return Ranking(entries).best

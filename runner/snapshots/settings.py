"""The settings of a snapshotter, and their checks."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from runner.checks import at_least, choices, known, meant, within
from runner.cores import MOST_THREADS
from runner.errors import ConfigError
from runner.signals import STOPS
from runner.snapshots import codecs

SIGNALS = {number.name.removeprefix("SIG"): number for number in STOPS}
AFTER_SIGNAL = ("continue", "stop")
ON_FAILURE = ("raise", "warn")


@dataclass(kw_only=True)
class SnapshotterSettings:
    """When snapshots are taken, how they are compressed, and which are kept.

    Raises:
        ConfigError: an unknown codec, or a number out of range.
    """

    prefix: str | None = None
    """Start of the snapshots' names. Default: the workflow's name."""
    compression: str | None = "gz"
    """Codec: none, snappy, gz, bz2, xz or zst."""
    compression_level: int | None = None
    """Level of the codec. Default: the codec's own default."""
    interval: int = 1
    """Take at most one snapshot of a new best epoch in this many. One put off is of a later epoch; the best may have none."""
    time_interval: float = 0.0
    """Minimum number of seconds between two snapshots."""
    at_most_lost: float | None = 600.0
    """Seconds of work that a kill may cost. So often the run takes a snapshot in any case, which the next one replaces."""
    max_overhead: float = 0.02
    """Share of the run's time that snapshots for `at_most_lost` may cost. If they cost more, they are taken less often."""
    grace: float | None = None
    """Seconds from a stop signal until the process is killed: the snapshot gets a quick codec, and goes to a spool first."""
    keep_best: int | None = None
    """Keep this many snapshots with the lowest error, and the newest. Default: all."""
    keep_last: int | None = None
    """Keep this many of the newest snapshots. Default: all."""
    keep_code: bool = True
    """Whether the source of your own modules, the conf file and the git commit are kept beside the snapshots of a run."""
    blocking: bool = False
    """Whether the run waits until each snapshot is durable."""
    workers: int | None = None
    """Number of compression threads. Default: one per core."""
    staging: int | None = None
    """Bytes of memory for snapshots that are being written. Default: a quarter of the machine's memory."""
    on_error: str | None = None
    """Whether a failed snapshot ends the run (`raise`) or is logged (`warn`). Default: `raise` without a spool."""
    on_unrestorable: str = "raise"
    """Whether a state that the default restore would refuse ends the run (`raise`) or is logged (`warn`)."""

    on_signal: dict[str, str] = field(default_factory=dict)
    """What the run does after the snapshot that a signal requested: `{USR1: continue}`. Default: each signal stops the run."""

    def __post_init__(self) -> None:
        _check_signals(self.on_signal)
        codecs.find(self.compression).check_level(self.compression_level)
        at_least("snapshotter.interval", self.interval, 1, "epochs between snapshots")
        at_least("snapshotter.time_interval", self.time_interval, 0, "seconds between snapshots", whole=False)
        at_least("snapshotter.at_most_lost", self.at_most_lost, 0, "seconds of work", whole=False)
        at_least("snapshotter.grace", self.grace, 0, "seconds until the process is killed", whole=False)
        if not 0 < self.max_overhead <= 1:
            raise ConfigError(
                f"snapshotter.max_overhead={self.max_overhead} must be above 0 and at most 1 (a share of the run's time)"
            )
        at_least("snapshotter.keep_best", self.keep_best, 1, "snapshots")
        at_least("snapshotter.keep_last", self.keep_last, 1, "snapshots")
        within("snapshotter.workers", self.workers, 1, MOST_THREADS)
        at_least("snapshotter.staging", self.staging, 0, "bytes")
        for key in ("on_error", "on_unrestorable"):
            value = getattr(self, key)
            if value not in ON_FAILURE and (key, value) != ("on_error", None):
                close = meant(value, ON_FAILURE)
                raise ConfigError(f"snapshotter.{key}={value!r} is unknown; {close}known: {known(ON_FAILURE)}")

    @property
    def continuing(self) -> frozenset[signal.Signals]:
        """The signals that request a snapshot without stopping the run."""
        on_signal: dict[str, str] = vars(self).get("on_signal", {})  # missing in settings from older snapshots
        return frozenset(SIGNALS[name] for name, action in on_signal.items() if action == "continue")

    @property
    def codec(self) -> codecs.Codec:
        """The codec that `compression` names."""
        return codecs.find(self.compression)

    @property
    def level(self) -> int:
        """The compression level."""
        return self.codec.check_level(self.compression_level)


def _check_signals(on_signal: Mapping[str, str]) -> None:
    for name, action in on_signal.items():
        if name not in SIGNALS:
            raise ConfigError(
                f"snapshotter.on_signal.{name} is not a signal that asks for a snapshot; {choices(name, SIGNALS)}"
            )
        if action not in AFTER_SIGNAL:
            raise ConfigError(f"snapshotter.on_signal.{name}={action!r} is unknown; {choices(action, AFTER_SIGNAL)}")


class Trust(Enum):
    """How a snapshot's pickle is loaded."""

    restricted = "restricted"
    """By a restricted machine, which builds known objects and never runs code that the snapshot names."""
    signed = "signed"
    """By Python's own unpickler, if the signature is valid."""
    full = "full"
    """By Python's own unpickler: the snapshot can run any code that its author put in it."""

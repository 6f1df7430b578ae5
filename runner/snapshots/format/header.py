"""The header of a snapshot, readable without unpickling anything."""

# Without `annotations` of `__future__`, which msgspec would compile and evaluate when it reads the first header: who watches a
# restore for code that is run (docs/security.md) would see that.

import json
import sys
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Self, get_type_hints

import msgspec
from msgspec import defstruct
from msgspec.structs import asdict

from runner.errors import SnapshotDamagedError, SnapshotMismatchError

FORMAT = 2
"""The version of the format that this version writes: see docs/format.md."""
OLDEST = 2
"""The oldest format that can be read. Format 1, which named classes by their modules, was never released."""
SPLITS = ("validation", "train")
"""The splits of which a score may be the error; that of the validation set says more."""


def utc_now(after: str | None = None) -> str:
    """Returns the current time as ISO 8601, UTC, with microseconds; later than `after` even if the clock was set back."""
    now = datetime.now(UTC)
    if after is not None:
        with suppress(ValueError, TypeError, OverflowError):  # a restored state may say anything
            now = max(now, datetime.fromisoformat(after) + timedelta(microseconds=1))
    return now.isoformat(timespec="microseconds")


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first part of every snapshot, as JSON."""

    name: str
    """`<prefix>_<suffix>`: the stem of the file name."""
    prefix: str
    """The snapshotter's prefix. Snapshots with the same prefix in the same folder belong together."""
    workflow: str
    """The workflow's name."""
    workflow_class: str
    """The workflow's class as `module:qualname`."""
    run_id: str
    """The process that wrote it (UUID)."""
    log_id: str
    """The run it belongs to, kept across resumes (UUID)."""
    codec: str
    """The codec's name in the configuration."""
    level: int = 0
    """The codec's level; 0 for a codec without levels."""
    epoch: int = 0
    """Epochs completed."""
    iteration: int = 0
    """Minibatches completed in the current epoch."""
    complete: bool = False
    """Whether the run has reached its end."""
    autosave: bool = False
    """Whether it was taken for `snapshotter.at_most_lost`, so that the next snapshot of the run replaces it."""
    score: float | None = None
    """The error that ranks snapshots; lower is better. None if the workflow has no such error."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """The workflow's metrics, such as the error of each set of samples."""
    config: dict[str, Any] = field(default_factory=dict)
    """The configuration of the run, with interpolations unresolved."""
    overrides: list[str] = field(default_factory=list)
    """The overrides from the command line."""
    typed: list[str] = field(default_factory=list)
    """The keys of all overrides that this run has had, in all its processes."""
    referenced: dict[str, Any] = field(default_factory=dict)
    """What references in `config`, such as `${oc.env:NAME}`, stood for, where that was a number or a truth value."""
    conf: str | None = None
    """The conf file of the run."""
    identity: str | None = None
    """Digest of the configuration that makes the run the run it is; None in headers from before there was one."""
    identity_without: list[str] = field(default_factory=list)
    """Keys that are not in the digest: those that only say when the run ends, and `seed` if it was drawn."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of Python and of the packages that affect results."""
    code: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the source of each module whose units are in the workflow."""
    kept_code: str | None = None
    """SHA-256 of the code that is kept beside the snapshots of the run; None if there is none."""
    parent: str | None = None
    """UUID of the previous snapshot: the last one that the run wrote, or the one it was restored from."""
    previous: dict[str, Any] | None = None
    """The cost of the previous snapshot of this process: `uuid`, `state` and `stored` (bytes), `pause` and `seconds`.

    A snapshot cannot record its own cost, which is known only once it is durable."""
    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    """UUID of the snapshot."""
    time: str = field(default_factory=utc_now)
    """When it was taken: ISO 8601, UTC, microseconds."""
    format: int = FORMAT
    """Version of the snapshot format."""

    @property
    def split(self) -> str | None:
        """The split whose error the score is; None if there is no score, or it is something else."""
        score = self.score
        # Of what is to be high, the score is the negative.
        return next((name for name in SPLITS if score is not None and self.metrics.get(name) in (score, -score)), None)

    @property
    def best(self) -> float | None:
        """The best score of the run until then, as what is to be low; None if it is not known."""
        best, score, split = self.metrics.get("best"), self.score, self.split
        if isinstance(best, bool) or not isinstance(best, int | float):
            return None
        return -float(best) if split is not None and score and self.metrics[split] == -score else float(best)

    @property
    def measure(self) -> str:
        """What the score measures, as far as the configuration says it: scores of different ones cannot be compared."""
        decision = self.config.get("decision")
        monitor = decision.get("monitor") if isinstance(decision, dict) else None
        return json.dumps([self.config.get("loss_function"), self.config.get("loss") or None, monitor], default=str)

    def to_json(self) -> str:
        """Returns the header as JSON text."""
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads a header.

        Raises:
            SnapshotDamagedError: the text is not a valid header.
            SnapshotMismatchError: written by a newer version of veles-run.
        """
        if (quickly := _quickly(text)) is not None:
            return cls(**quickly)
        try:
            values = _loaded(text)
            version = msgspec.convert(values["format"], int)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise SnapshotDamagedError("its header cannot be read") from error
        if version > FORMAT:
            raise SnapshotMismatchError(
                f"it has format version {version}, and this veles-run reads up to {FORMAT}: upgrade veles-run"
            )
        if version < OLDEST:
            raise SnapshotMismatchError(
                f"it has format version {version}, from before names in snapshots were fixed, and this veles-run reads"
                f" {OLDEST} to {FORMAT}: continue it with the version that wrote it"
            )
        values |= {name: _finite(values[name]) for name in _MEASURED if name in values}
        try:
            header = msgspec.convert(values, cls)
            datetime.fromisoformat(header.time)
        except (ValueError, RecursionError) as error:
            raise SnapshotDamagedError(f"its header cannot be read: {error}") from error
        return header


_MEASURED = ("score", "metrics", "previous")
"""Fields with numbers that may be none."""
_OF_RUNS = ("config", "versions", "code", "overrides")
"""Fields that are equal in all headers of a run, as a rule, and larger than all others together."""


_TYPES = get_type_hints(Header)
_Strict = defstruct("_Strict", [(name, msgspec.Raw if name in _OF_RUNS else hint) for name, hint in _TYPES.items()])
"""A header that has every field, of which those of runs are left as they are written."""


@lru_cache(maxsize=400)
def _of_runs(name: str, text: bytes) -> Any:
    return msgspec.json.decode(text, type=_TYPES[name])


def _quickly(text: str) -> dict[str, Any] | None:
    """Reads the fields of a header that is strict JSON and has every one; None for any other.

    What headers of a run have in common is read, and kept in memory, only once: of a list of 10,000 snapshots that is most.
    """
    try:
        values = asdict(msgspec.json.decode(text, type=_Strict))
        values |= {name: _of_runs(name, bytes(values[name])) for name in _OF_RUNS}
        datetime.fromisoformat(values["time"])
    except (ValueError, RecursionError):
        return None
    if not OLDEST <= values["format"] <= FORMAT:
        return None
    return values | {name: _finite(values[name]) for name in _MEASURED}


def _loaded(text: str) -> Any:
    """Parses JSON as the standard library does, in a quarter of its time where the text is strict JSON."""
    with suppress(msgspec.DecodeError):
        return msgspec.json.decode(text)
    return json.loads(text)  # NaN and Infinity, which it writes


def _finite(value: Any) -> Any:
    """Returns measured values with None for numbers that are none, or too large for one: nothing can be compared with them."""
    if isinstance(value, float | int):
        return value if -sys.float_info.max <= value <= sys.float_info.max else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value

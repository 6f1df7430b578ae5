"""The run that a command describes, compared with the runs that snapshots are of.

What a header says of its identity is a hint for choosing, and nothing else: whoever writes a header can claim any.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import config as schema
from runner.config import Config, Identity
from runner.config.identity import LIMITS, NOT_OF_THE_RUN
from runner.errors import RunnerError
from runner.flat import is_reference
from runner.graph import Workflow
from runner.misfits import MISFITS
from runner.snapshots.format.header import Header
from runner.targets import with_names
from runner.text import shown

SHOWN = 5
"""Keys that a message names."""
_LONGEST = 60
_UNUSABLE = (RunnerError, *MISFITS, ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Asked:
    """The run that a command describes.

    Attributes:
        identity: its identity.
        written: the same with references as they are written, which is how headers have them.
        seed: its seed, if it is given.
        former: what its classes are called in snapshots, by their names today.
    """

    identity: Identity
    written: Identity | None
    seed: int | None
    former: Mapping[str, str]

    @classmethod
    def by(cls, node: DictConfig, name: str | None) -> Asked:
        """Returns the run that a composed configuration describes.

        Raises:
            ConfigError: it describes none.
        """
        config = schema.from_hydra(node)
        former = {today: once for once, today in config.restore.renamed.items()}
        written = _written(OmegaConf.to_container(node, enum_to_str=True), name)
        return cls(Identity.of(config, name), written, config.seed, former)

    def is_of(self, header: Header) -> bool:
        """Whether a snapshot is of this run: the configurations are the same, and so is the seed if one is given."""
        without = left_out(header)
        if "seed" in without and self.seed not in (None, header.config.get("seed")):
            return False
        if header.identity is not None:
            return header.identity in (self.identity.digest(without), _called(self.identity, self.former).digest(without))
        stored = _stored(header)
        return stored is not None and self.written is not None and not self._as_in(stored).differing(stored, without)

    def with_seed_of(self, header: Header) -> Asked:
        """Returns the same run with the seed of a snapshot, unless a seed is given."""
        if self.seed is not None or (seed := header.config.get("seed")) is None:
            return self
        written = self.written and Identity({**self.written.values, "seed": seed})
        return replace(self, identity=Identity({**self.identity.values, "seed": seed}), written=written)

    def _as_in(self, stored: Identity) -> Identity:
        """Returns what is written with the names that classes have in a snapshot of before they were renamed, if it is one."""
        assert self.written is not None
        once = _called(self.written, self.former)
        return once if len(once.differing(stored)) < len(self.written.differing(stored)) else self.written

    def difference(self, header: Header) -> str:
        """Says in which keys another run differs from this one."""
        stored = _stored(header)
        if stored is None or self.written is None:
            return "in a configuration that this version cannot read"
        without = left_out(header) - ({"seed"} if self.seed is not None else set())
        written = self._as_in(stored)
        keys = written.differing(stored, without)
        if not keys:
            return "in what references such as ${oc.env:NAME} lead to"
        there, here = stored.values, written.values
        told = [f"{shown(key)} ({_text(there.get(key))}, here {_text(here.get(key))})" for key in keys[:SHOWN]]
        return f"in {', '.join(told)}" + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")


def left_out(header: Header) -> frozenset[str]:
    """Returns the keys that do not count in the identity of a snapshot's run."""
    if header.identity is not None:
        return frozenset(header.identity_without)
    given = any(override.lstrip("+").startswith("seed=") for override in header.overrides)
    return frozenset(LIMITS if given else (*LIMITS, "seed"))


def of_fresh(config: Config, workflow: Workflow, drawn: bool) -> dict[str, Any]:
    """Returns the identity of a new run, as headers record it.

    Args:
        config: its configuration.
        workflow: what was built of it.
        drawn: whether its seed was drawn, and so does not belong to what was asked for.
    """
    return _fields(Identity.of(config, workflow.name), {*_limits(workflow), *(["seed"] if drawn else ())})


def of_resumed(header: Header, workflow: Workflow, before: Config, now: Config) -> dict[str, Any]:
    """Returns the identity of a run that goes on: that of its snapshot, unless a change of the configuration makes it another.

    Args:
        header: of the snapshot.
        workflow: what was restored of it.
        before: the configuration of the snapshot.
        now: the same with the changes.
    """
    without = left_out(header)
    was, identity = Identity.of(before, workflow.name), Identity.of(now, workflow.name)
    is_renamed = with_names(header.config, now.restore.renamed) != header.config
    if header.identity is not None and not is_renamed and not was.differing(identity, without):
        return {"identity": header.identity, "identity_without": sorted(without)}
    return _fields(identity, {*_limits(workflow), *({"seed"} & without)})


def _limits(workflow: Workflow) -> set[str]:
    return {*LIMITS, *(() if workflow.limit is None else workflow.limit[:1])}


def _fields(identity: Identity, without: Collection[str]) -> dict[str, Any]:
    return {"identity": identity.digest(without), "identity_without": sorted(without)}


def _called(identity: Identity, names: Mapping[str, str]) -> Identity:
    return Identity(with_names(identity.values, names)) if names else identity


def _stored(header: Header) -> Identity | None:
    run = {key: value for key, value in header.config.items() if key not in NOT_OF_THE_RUN}
    return _read(json.dumps(run), header.workflow)


@lru_cache
def _read(text: str, name: str) -> Identity | None:
    """Returns the identity of a configuration in headers, which all snapshots of a run have alike."""
    return _written(json.loads(text), name)


def _written(settings: Any, name: str | None) -> Identity | None:
    """Returns the identity of a configuration whose references stay as they are; None if this version cannot read it.

    A reference is never resolved for the sake of a snapshot: it would read the environment as the snapshot says.
    """
    references: dict[str, str] = {}
    try:
        run = {key: value for key, value in settings.items() if key not in NOT_OF_THE_RUN}
        node = OmegaConf.merge(OmegaConf.structured(Config), _without_references(run, "", references))
        values = Identity.of(schema.from_hydra(node), name).values  # type: ignore[arg-type]
    except _UNUSABLE:
        return None
    return Identity({**values, **references})


def _without_references(value: Any, path: str, references: dict[str, str]) -> Any:
    """Returns nested settings without the references in them, which are noted by their keys."""
    if isinstance(value, Mapping):
        items = {str(key): (f"{path}.{key}".lstrip("."), item) for key, item in value.items()}
        references |= {where: item for where, item in items.values() if is_reference(item)}
        return {
            key: _without_references(item, where, references) for key, (where, item) in items.items() if not is_reference(item)
        }
    if isinstance(value, list):
        numbered = _without_references({str(number): item for number, item in enumerate(value)}, path, references)
        return list(numbered.values())
    return value


def _text(value: Any) -> str:
    text = "null" if value is None else shown(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."

"""Headers that a stranger has written, with a configuration in them, and what a run on the command line does with them."""

from __future__ import annotations

import copy
import functools
import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from runner import build
from runner import config as schema
from runner.cli import authority, conf_changes, run_identity, source
from runner.cli.request import Request
from runner.cli.run_identity import Asked
from runner.config import Config, schema_keys
from runner.graph import Workflow
from runner.snapshots.format.header import Header
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.stores.file import FileStore
from tests.fuzz.changes import FRACTIONS, NUMBERS, TEXTS

SECRET = "a secret of the environment"
REFERENCES = (
    *("${oc.env:FUZZ_SECRET}", "x${oc.env:FUZZ_SECRET}", "${oc.decode:${oc.env:FUZZ_SECRET}}", "${oc.env:${workflow.name},x}"),
    *(
        "${workflow.name}",
        "${.name}",
        "${..seed}",
        "${snapshot}",
        "${layers}",
        "${",
        "${}",
        "${a:}",
        "${oc.select:seed,1}",
        "???",
    ),
    *(
        "${oc.dict.values:restore}",
        "${oc.create:{}}",
        "${hydra:runtime.cwd}",
        "\\${seed}",
        "$${oc.env:FUZZ_SECRET}",
        "${ oc.env:X }",
    ),
)
PLACES = (
    *(
        "DRIVER=/tmp/x.so",
        "Driver=SQLite3;Database=x.db",
        "/tmp/elsewhere",
        "..",
        "../outside",
        "snapshots/../../x",
        "~",
        "/",
        ".",
    ),
    *("env:FUZZ_SECRET", "/etc/passwd", "0777", "777", "veles; DROP TABLE x", "x" * 300, "\x1b[2J", "a\nb", "a\0b"),
)
TYPED: tuple[list[str], ...] = (
    *([], [], ["decision.max_epochs=60"], ["snapshotter.compression=gz", "snapshotter.directory=snapshots"], ["seed=4"]),
    *(["lr_adjuster.lr_policy=exp"], ["loader.minibatch_size=3"], ["workflow.name=y"], ["layers.fc1.type=softmax"]),
)
LAYERS = {"fc1": {"type": "all2all_tanh", "output_sample_shape": 5}, "out": {"type": "softmax"}}


@functools.cache
def configuration() -> dict[str, Any]:
    """Returns an honest configuration, with all keys that there are."""
    made: dict[str, Any] = OmegaConf.to_container(OmegaConf.structured(Config), enum_to_str=True)  # type: ignore[assignment]
    return made | {"layers": copy.deepcopy(LAYERS), "seed": 3}


def honest() -> dict[str, Any]:
    """Returns the fields of an honest header."""
    header = Header(name="x", prefix="x", workflow="x", workflow_class="x:X", run_id="x", log_id="x", codec="none")
    return vars(header) | {"config": configuration()}


def changed(rng: random.Random) -> dict[str, Any]:
    """Returns the fields of a header of which some, or parts of the configuration, are others."""
    fields = copy.deepcopy(honest())
    for _ in range(rng.choice((0, 0, 1, 2))):
        fields[rng.choice(list(fields))] = _value(rng)
    if isinstance(fields["config"], dict):
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            _change(rng, fields["config"])
    return fields


def _change(rng: random.Random, values: dict[str, Any]) -> None:
    """Changes, adds or takes away a value, at some depth."""
    key = rng.choice([*values, "x"])
    inner = values.get(key)
    if isinstance(inner, dict) and rng.random() < 0.8:
        _change(rng, inner)
    elif rng.random() < 0.1:
        values.pop(key, None)
    elif rng.random() < 0.1:
        values[f"{key}.{rng.choice([*values, 'x'])}"] = _value(rng)
    else:
        values[key] = _value(rng)


def _value(rng: random.Random) -> Any:
    value = rng.choice(rng.choice((REFERENCES, REFERENCES, PLACES, PLACES, TEXTS, NUMBERS, FRACTIONS, (None, True, [], {}))))
    wrap = rng.random()
    return {rng.choice(("_target_", "name", "a.b", "${x}")): value} if wrap < 0.1 else [value, value] if wrap < 0.2 else value


@functools.cache
def plain() -> bytes:
    """Returns an honest header as it stands in a file."""
    return as_bytes(honest())


def as_bytes(fields: dict[str, Any]) -> bytes:
    """Returns a header as it stands in a file."""
    return json.dumps(fields).encode("utf-8", "surrogatepass")


class Resumption:
    """What the command line does with a snapshot before its run goes on."""

    def __init__(self) -> None:
        os.environ["FUZZ_SECRET"] = SECRET
        self.told = ""
        conf_changes.log = self  # type: ignore[assignment]
        self.call: DictConfig = OmegaConf.structured(Config)
        described = OmegaConf.merge(self.call, configuration())
        self.asked = Asked.by(described, "x")  # type: ignore[arg-type]
        workflow = Workflow(name="x")
        self.go_on(
            Restored(workflow, "snapshots/x.pickle", Header(**honest()), FileStore("snapshots")), []
        )  # imports what is used
        for key in schema_keys.all_keys():
            schema_keys.kind(key)  # evaluates annotations

    def warning(self, message: str, *arguments: object) -> None:
        """Hears what the command line would tell."""
        self.told = message % arguments

    def go_on(self, restored: Restored, typed: list[str]) -> None:
        """Takes the snapshot's configuration, and what was typed over it, into the run."""
        location = restored.location
        typed = [f"snapshot={location}", *typed]
        request = Request(conf=None, typed=typed, output_dir="out", run_folders=[Path("out")], sweep=False)
        header = restored.header
        if not self.asked.is_of(header):
            assert "\n" not in self.asked.difference(header), "a message of several lines"
        before = source.snapshot_config(restored, self.call, request)
        conf_changes.keep(before, restored)
        self.told = ""
        conf_changes.tell(before, self.call, restored, replace(request, conf="x"))
        assert SECRET not in self.told and self.told.isprintable(), "a message of several lines"  # noqa: PT018
        now = source.overridden(before, request.run_overrides, self.call)
        now.mode, now.snapshot, now.restore = self.call.mode, location, self.call.restore
        authority.check_places(now, self.call, source.as_named(restored, request))
        config, was = schema.from_hydra(now), schema.from_hydra(before)
        run_identity.of_resumed(header, restored.workflow, was, config)
        shown = str(OmegaConf.to_container(now, resolve=True, enum_to_str=True))
        assert SECRET not in shown, "the environment was read"
        assert not config.snapshotter.odbc, "it would connect"
        assert not config.snapshotter.key, "it would sign"
        build.reconfigure(restored.workflow, was, config, "out")

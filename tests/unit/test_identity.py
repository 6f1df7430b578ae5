"""What makes a run the run it is: which ways to write a configuration are the same run, and which are not."""

from typing import Any

import pytest
from omegaconf import OmegaConf

from runner import config as schema
from runner.cli.run_identity import Asked, of_fresh, of_resumed
from runner.config import Config, Identity
from runner.config.identity import LIMITS
from runner.graph import Workflow
from runner.snapshots.format.header import Header

LAYERS = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 8, "learning_rate": 0.1},
    "out": {"type": "softmax", "output_sample_shape": 3},
}
BASE: dict[str, Any] = {"layers": LAYERS, "seed": 5, "decision": {"max_epochs": 3}}


def node(settings: dict[str, Any], *dots: str) -> Any:
    merged = OmegaConf.merge(OmegaConf.structured(Config), settings)
    return OmegaConf.merge(merged, OmegaConf.from_dotlist(list(dots)))


def asked(settings: dict[str, Any], *dots: str, name: str = "run") -> Asked:
    return Asked.by(node(settings, *dots), name)


def header(settings: dict[str, Any], *dots: str, drawn: bool = False, name: str = "run", **values: Any) -> Header:
    """Returns the header of a new run with this configuration."""
    composed = node(settings, *dots)
    fields = of_fresh(schema.from_hydra(composed), Workflow(name=name), drawn) | values
    ids = {"run_id": "r", "log_id": "l", "codec": "none", "workflow_class": "m:C"}
    config = OmegaConf.to_container(composed, enum_to_str=True)
    return Header(name="n", prefix="n", workflow=name, config=config, **ids, **fields)


SAME = [
    ["layers.fc1.learning_rate=0.10"],
    ["layers.fc1.learning_rate=1e-1"],
    ["layers.fc1.weights_decay=0"],
    ["layers.fc1.include_bias=true"],
    ["precision=float32"],
    ["loader.minibatch_size=100"],
    ["decision.max_epochs=30"],
    ["decision.fail_iterations=7"],
    ["decision.max_epochs=null", "decision.fail_iterations=null"],
    ["snapshotter.keep_last=2", "snapshotter.compression=xz", "snapshotter.directory=elsewhere"],
    ["metrics.every=3", "metrics.gradient_norm=true", "logger=tensorboard", "loggers.tensorboard.folder=elsewhere"],
    ["device=cpu", "threads=3", "plotters=false", "parallel.timeout=9"],
    ["mode=train", "snapshot=auto", "restore.allow_changed_data=true"],
    ["seed=5"],
]
OTHER = {
    "layers.fc1.learning_rate=0.2": "layers.fc1.learning_rate",
    "layers.out.learning_rate=0.1": "layers.out.learning_rate",
    "layers.fc1.output_sample_shape=9": "layers.fc1.output_sample_shape",
    "layers.fc1.type=all2all_sigmoid": "layers.fc1.type",
    "loader.minibatch_size=50": "loader.minibatch_size",
    "loader.train_size=50": "loader.train_size",
    "precision=float64": "precision",
    "rollback.fail_iterations=3": "rollback.fail_iterations",
    "parallel.shards=8": "parallel.shards",
    "workflow.key=1": "workflow.key",
    "seed=6": "seed",
    "seed=null": "seed",
}


@pytest.mark.parametrize("dots", SAME, ids=" ".join)
def test_the_same_run_in_other_words(dots: list[str]) -> None:
    for one, other in ((BASE, dots), ({**BASE}, [])):
        assert asked(one, *other).is_of(header(BASE))
    assert asked(BASE).is_of(header(BASE, *dots))


@pytest.mark.parametrize("dot", OTHER)
def test_another_run_and_the_key_that_makes_it_another(dot: str) -> None:
    assert not asked(BASE, dot).is_of(header(BASE))
    assert not asked(BASE).is_of(header(BASE, dot))
    assert asked(BASE, dot).difference(header(BASE)).startswith(f"in {OTHER[dot]} (")


def test_another_name_and_another_order_of_layers_are_other_runs() -> None:
    turned = BASE | {"layers": dict(reversed(LAYERS.items()))}
    assert not asked(turned).is_of(header(BASE))
    assert asked(turned).difference(header(BASE)) == "in layers (['fc1', 'out'], here ['out', 'fc1'])"
    assert not asked(BASE, name="other").is_of(header(BASE))


def test_the_order_of_keys_and_the_form_of_the_layers_do_not_matter() -> None:
    velesian = [
        {"name": "fc1", "type": "all2all_tanh", "<-": {"learning_rate": 0.1}, "->": {"output_sample_shape": 8}},
        {"name": "out", "type": "softmax", "->": {"output_sample_shape": 3}},
    ]
    assert asked(dict(reversed(BASE.items()))).is_of(header(BASE))
    assert asked(BASE | {"layers": velesian}).is_of(header(BASE))


def test_a_seed_that_was_drawn_is_not_asked_for() -> None:
    drawn = header(BASE, "seed=77", drawn=True)
    assert asked(BASE, "seed=null").is_of(drawn)
    assert asked(BASE, "seed=77").is_of(drawn)
    assert not asked(BASE, "seed=78").is_of(drawn)
    assert asked(BASE, "seed=78").difference(drawn) == "in seed (77, here 78)"
    assert not asked(BASE, "seed=null").is_of(header(BASE, "seed=77"))
    assert asked(BASE, "seed=null").with_seed_of(header(BASE, "seed=77")).is_of(header(BASE, "seed=77"))


def test_the_limit_of_a_workflow_of_ones_own_does_not_count() -> None:
    class Own(Workflow):
        limit = ("workflow.rounds", 3)

    settings = BASE | {"workflow": {"rounds": 3}}
    fields = of_fresh(schema.from_hydra(node(settings)), Own(name="run"), False)
    assert fields["identity_without"] == sorted([*LIMITS, "workflow.rounds"])
    assert asked(settings, "workflow.rounds=9").is_of(header(settings, **fields))
    assert not asked(settings, "workflow.rounds=9").is_of(header(settings))


def test_what_a_reference_leads_to_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BASE | {"workflow": {"key": "${oc.env:VELES_TEST_KEY}"}}
    monkeypatch.setenv("VELES_TEST_KEY", "1")
    stored = header(settings)
    assert asked(settings).is_of(stored)
    assert asked(BASE | {"workflow": {"key": "1"}}).is_of(stored)
    monkeypatch.setenv("VELES_TEST_KEY", "2")
    assert not asked(settings).is_of(stored)
    assert asked(settings).difference(stored) == "in what references such as ${oc.env:NAME} lead to"


def test_a_reference_of_a_snapshot_is_not_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELES_TEST_KEY", "canary")
    settings = BASE | {"workflow": {"key": ["${oc.env:VELES_TEST_KEY}", {"deep": "${oc.env:VELES_TEST_KEY}"}]}}
    told = asked(BASE).difference(header(settings))
    assert "canary" not in told
    assert "workflow.key.0 (${oc.env:VELES_TEST_KEY}, here null)" in told


def test_what_a_snapshot_says_stays_on_one_line() -> None:
    told = asked(BASE).difference(header(BASE | {"workflow": {"a\nb": "c\nd\x1b[2J"}}))
    assert told == r"in workflow.a\nb (c\nd\x1b[2J, here null)"


def test_a_number_in_a_snapshot_that_no_float_can_hold_is_told() -> None:
    stored = header(BASE)
    stored.config["parallel"] = {"timeout": 10**400}
    assert asked(BASE).difference(stored) == "in a configuration that this version cannot read"


def test_passwords_are_neither_counted_nor_shown() -> None:
    one, other = (BASE | {"workflow": {"token": token}} for token in ("canary-1", "canary-2"))
    assert asked(one).is_of(header(other))
    assert "canary" not in asked(BASE).difference(header(one))


def test_headers_from_before_there_was_an_identity() -> None:
    for dots in SAME:
        assert asked(BASE, *dots).is_of(header(BASE, identity=None, overrides=["seed=5"]))
    for dot in OTHER:
        assert not asked(BASE, dot).is_of(header(BASE, identity=None, overrides=["seed=5"]))
    assert asked(BASE, "seed=null").is_of(header(BASE, identity=None))  # no seed was typed: it was drawn


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"layers": 3},
        {"layers": {"a": {}}},
        {"loader": {"no": 1}},
        {"loader": []},
        {"decision": {"max_epochs": "x"}},
        {"a": 1},
    ],
    ids=repr,
)
def test_configurations_that_make_no_sense_are_other_runs(config: dict[str, Any]) -> None:
    ids = {"run_id": "r", "log_id": "l", "codec": "none", "workflow_class": "m:C"}
    strange = Header(name="n", prefix="n", workflow="run", config=config, **ids)
    assert not asked(BASE).is_of(strange)
    assert asked(BASE).difference(strange)


def test_a_change_makes_another_run_and_a_change_of_the_limits_does_not() -> None:
    workflow, stored = Workflow(name="run"), header(BASE)
    before = schema.from_hydra(node(BASE))

    def resumed(*dots: str) -> dict[str, Any]:
        return of_resumed(stored, workflow, before, schema.from_hydra(node(BASE, *dots)))

    fields = {"identity": stored.identity, "identity_without": stored.identity_without}
    assert resumed() == resumed("decision.max_epochs=9", "snapshotter.keep_last=1") == fields
    branched = header(BASE, "layers.fc1.learning_rate=0.2", **resumed("layers.fc1.learning_rate=0.2"))
    assert branched.identity != stored.identity
    assert asked(BASE, "layers.fc1.learning_rate=0.2").is_of(branched)
    assert not asked(BASE).is_of(branched)


def test_long_differences_are_cut() -> None:
    many = BASE | {"workflow": {f"key{number}": "x" * 1000 for number in range(20)}}
    told = asked(BASE).difference(header(many))
    assert told.endswith(" and 15 more")
    assert len(told) < 1000


def test_a_key_that_a_later_version_adds_makes_no_difference() -> None:
    identity = Identity.of(schema.from_hydra(node(BASE)), "run")
    assert set(identity.values) == {
        *("layers", "layers.fc1.type", "layers.fc1.output_sample_shape", "layers.fc1.learning_rate", "layers.out.type"),
        *("layers.out.output_sample_shape", "seed", "decision.max_epochs", "workflow.name"),
    }

"""Whatever of a network is in a snapshot is declared by its class, with its type, and has that type."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.graph import Repeater, Unit, Workflow
from runner.graph.links import Link
from runner.graph.state_types import declared
from runner.nn import StandardWorkflow
from runner.nn.core.random_stream import Stream
from runner.nn.evaluators.evaluator import Metric
from runner.nn.loading.minibatches import Minibatch
from runner.nn.training.held import Frozen, Held
from runner.nn.training.sgd import SGD
from runner.nn.training.torch_optim import TorchStep
from runner.snapshots.restoring.restore import restore
from runner.snapshots.snapshotter import Snapshotter
from tests.networks import LAYERS, network
from tests.unit.nn.test_parts import EVERY as PARTS

OUT = LAYERS["out"]
CONV = {"type": "conv_relu", "n_kernels": 4, "kx": 2, "ky": 2, "padding": 1}
WINDOW = {"kx": 2, "ky": 1}
ADAM = {"_target_": "torch.optim.AdamW", "lr": 1}
IMAGES = {
    "conv": CONV | {"gradient_momentum": 0.5},
    "lrn": {"type": "local_response_norm", "k": 1},
    "bn": {"type": "batch_norm", "momentum": 1},
    "max": {"type": "max_pooling"} | WINDOW,
    "depool": {"type": "depooling", "pooling": "max"},
    "deconv": {"type": "deconv", "conv": "conv", "include_bias": True},
    "avg": {"type": "avg_pooling"} | WINDOW,
    "stochastic": {"type": "stochastic_pooling"} | WINDOW,
    "out": OUT,
}
OTHERS = {
    "first": CONV,
    "cutter": {"type": "cutter", "padding": [1, 0, 0, 0]},
    "maxabs": {"type": "maxabs_pooling"} | WINDOW,
    "abs": {"type": "stochastic_abs_pooling"} | WINDOW,
    "conv": CONV | {"padding": [1, 0, 1, 0], "learning_rate": 1, "weights_stddev": 1},
    "relu": {"type": "activation_softplus"},
    "sincos": {"type": "activation_sincos"},
    "mul": {"type": "activation_mul", "factor": 2},
    "flat": {"_target_": "torch.nn.Flatten"},
    "lin": {"_target_": "torch.nn.Linear", "in_features": 16, "out_features": 6, "gradient_momentum": 0.5},
    "norm": {"_target_": "torch.nn.BatchNorm1d", "num_features": 6},
    "fc": {"type": "all2all_tanh", "output_sample_shape": [2, 3], "include_bias": False, "factor_ortho": 1},
    "drop": {"type": "dropout", "dropout_ratio": 0},
    "out": {"type": "softmax"},
}
BARE = {name: {key: value for key, value in layer.items() if "gradient" not in key} for name, layer in IMAGES.items()} | {
    "out": {"type": "softmax"}
}
AE = {"fc": {"type": "all2all", "output_sample_shape": 6, "learning_rate": 0.01, "weights_decay": 1}}
NETWORKS: dict[str, dict[str, Any]] = {
    "fully connected": {},
    "images": {"layers": IMAGES},
    "images in double precision": {"layers": IMAGES, "precision": "float64"},
    "all others": {"layers": OTHERS},
    "optimizer": {"layers": BARE, "optimizer_config": ADAM},
    "optimizer of modules": {
        "layers": {"flat": OTHERS["flat"], "lin": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 6}}
        | {"out": {"type": "softmax"}},
        "optimizer_config": ADAM | {"lr": 0.1},
    },
    "mean squared error": {"layers": AE, "loss_function": "mse"},
    "loss and scheduler": {
        "layers": {"flat": OTHERS["flat"], "lin": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 3}},
        "loss_config": {"_target_": "torch.nn.CrossEntropyLoss", "weight": "balanced"},
        "optimizer_config": ADAM | {"accumulate": 2, "clip_norm": 1.0, "groups": [{"pattern": "*.weight", "lr": 0.1}]},
        "scheduler_config": {
            "_target_": "torch.optim.lr_scheduler.CyclicLR",
            "base_lr": 0.1,
            "max_lr": 1,
            "by_minibatch": True,
        },
        "freeze": ["lin.bias"],
        "ema": 0.5,
    },
    "in shards": {"shards": 4},
    "tuples and dicts": PARTS["a loss that learns"],
    "further metrics": {
        "scores_config": {
            "f1": {"_target_": "torchmetrics.F1Score", "task": "multiclass", "num_classes": 3, "average": "macro"}
        }
    },
    "own step": {"layers": {"model": {"_target_": "tests.unit.nn.test_own_step.Distilled"}}},
    "roll-back": {
        "layers": {"fc": LAYERS["fc1"] | {"learning_rate": 5}, "out": OUT},
        "rollback_config": {"fail_iterations": 1, "lr_minus": 1},
        "lr_adjuster_config": {"policy": "exp", "parameters": {"gamma": 1}, "by_minibatch": True},
        "decision_config": {"max_epochs": 4, "fail_iterations": None},
    },
    "arbitrary steps": {
        "lr_adjuster_config": {"policy": "arbitrary_step", "parameters": {"lrs_with_lengths": [[1, 1], [2, 1]]}}
    },
}
BY_LAYERS = {"label_count", "input_dtype", "input_parts", "further_"}
"""What is linked where the first layer is a module, or the last one."""
OBJECTS = (SGD, TorchStep, Held, Frozen, Metric, Minibatch, Stream)


def parts(workflow: StandardWorkflow) -> Iterator[object]:
    """Yields the units of a network, and the objects of its package that they hold."""
    yield workflow
    for unit in workflow.units:
        yield unit
        for value in vars(unit).values():
            for item in value.values() if isinstance(value, dict) else [value]:
                if isinstance(item, OBJECTS):
                    yield item


def state(part: Any) -> dict[str, Any]:
    """Returns what a snapshot has of a unit or an object, but for what every unit has."""
    if isinstance(part, Unit):
        own = {name: value for name, value in vars(part).items() if not name.endswith("_")} | part.links()
        bare = vars(Workflow() if isinstance(part, Workflow) else Unit(Workflow()))
        return {name: value for name, value in own.items() if name not in bare}
    if hasattr(part, "_asdict"):
        return dict(part._asdict())
    return dict(part.__getstate__() if isinstance(part, Stream) else vars(part))


def check(workflow: StandardWorkflow) -> None:
    for part in parts(workflow):
        if isinstance(part, Snapshotter):
            continue
        types = declared(type(part))
        for name, value in state(part).items():
            where = f"{type(part).__name__}.{name}={value!r}"
            assert name in types, f"{where} is not declared"
            # A module that is not the first layer has no `input_dtype`: the type of its input is that of weights.
            assert types[name].linked == isinstance(value, Link) or name == "input_dtype", where
            value = getattr(part, name, None) if isinstance(value, Link) else value
            if not name.endswith("_") and (value is not None or not types[name].linked):
                assert types[name].fits(value), f"{where} is not of type {types[name].text}"
                assert types[name].text != "float" or type(value) is float, where


def check_links(workflow: StandardWorkflow) -> None:
    """Everything that is declared as linked is linked, but for gates and for what depends on the layers."""
    for unit in workflow.units:
        if type(unit).__module__.startswith("runner.nn."):
            names = {name for name, kind in declared(type(unit)).items() if kind.linked}
            assert names - unit.links().keys() <= BY_LAYERS | {"gate_block", "gate_skip", "ignores_gate"}, unit


@pytest.mark.parametrize("name", NETWORKS)
def test_every_part_of_a_state_is_declared_with_its_type(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = NETWORKS[name]
    workflow = network(tmp_path, **settings)
    check(workflow)
    check_links(workflow)
    workflow.initialize()
    check(workflow)
    checked = []
    monkeypatch.setattr(Repeater, "run", lambda self: checked.append(check(workflow)))
    workflow.run()
    check(workflow)
    assert len(checked) > 10
    restored: Any = restore(tmp_path / "blobs_current.5.pickle", trusted=["tests", "torchmetrics"]).workflow
    check(restored)
    restored.initialize()
    check(restored)


def test_whole_numbers_that_are_typed_later_keep_the_types() -> None:
    settings = {"fc": LAYERS["fc1"], "drop": LAYERS["drop"], "mul": {"type": "activation_mul"}, "out": OUT}
    workflow = network(layers=settings, rollback_config={"fail_iterations": 1})
    for key in ("layers.drop.dropout_ratio", "layers.mul.factor", "layers.fc.learning_rate", "layers.fc.weights_decay_bias"):
        workflow.override(key, 0)
    workflow.override("rollback.lr_minus", 1)
    check(workflow)
    workflow = network(layers={"out": {"type": "softmax"}}, optimizer_config=ADAM)
    workflow.override("optimizer.lr", 2)
    check(workflow)


def test_every_class_of_layers_takes_part() -> None:
    from runner.nn.layers.layer_types import LAYERS as TYPES
    from runner.nn.layers.module import Module
    from runner.nn.layers.own_step import OwnStep, layer_of

    seen = {type(unit) for settings in NETWORKS.values() for unit in network(**settings).units}
    made = {getattr(kind.forward, "func", kind.forward) for kind in TYPES.values()} | {kind.gradient for kind in TYPES.values()}
    assert (made - {layer_of}) | {Module, OwnStep} <= seen


def test_dataclasses_declare_what_they_hold() -> None:
    assert {field.name for field in dataclasses.fields(SGD)} == declared(SGD).keys()

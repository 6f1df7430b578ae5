"""VELES's own samples, their dictionaries written as YAML: each builds the network that VELES built, and trains and resumes."""

import math
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from runner.config import Config, from_hydra
from runner.config.veles import translated
from runner.errors import ConfigError
from runner.nn import StandardWorkflow
from runner.nn.layers.conv import Conv
from runner.nn.layers.weighted import WeightedForward, WeightedGradient
from runner.nn.schedule import POLICIES
from tests import data
from tests.conftest import Run
from tests.system.test_data import Stopping, check, workflow
from tests.system.test_resume import final_snapshot

FOLDER = Path(__file__).parents[1] / "veles"

Sizes = Callable[[Path], list[str]]


def mnist(train: int) -> Sizes:
    return lambda folder: [f"loader.train_size={train}", "loader.validation_size=60"]


def cifar(size: int) -> Sizes:
    return lambda folder: [f"loader.data_dir={data.write_cifar10(folder)}", f"loader.minibatch_size={size}"]


def images(*keys: str) -> Sizes:
    return lambda folder: [f"loader.{key}={data.write_images(folder / key)}" for key in keys]


SAMPLES: dict[str, Sizes] = {
    "mnist": mnist(300),
    "mnist_caffe": mnist(300),
    "mnist_conv": mnist(30),
    "cifar": cifar(7),
    "cifar_caffe": cifar(7),
    "cifar_nin": cifar(2),
    "wine_relu": lambda folder: [],
    "lines": images("data_dir", "validation_dir"),
    "yale_faces": images("data_dir"),
}
"""For each sample what names its data and cuts them down."""

RESUMED = ("mnist", "mnist_caffe", "cifar", "wine_relu", "yale_faces")

NETWORKS: dict[str, list[tuple[str, str, tuple[int, ...] | None]]] = {
    "mnist": [("fc_tanh1", "tanh", (100, 784)), ("fc_softmax2", "softmax", (10, 100))],
    "mnist_caffe": [
        ("conv1", "linear", (20, 1, 5, 5)),
        ("max_pool1", "MaxPooling", None),
        ("conv2", "linear", (50, 20, 5, 5)),
        ("max_pool2", "MaxPooling", None),
        ("fc_relu3", "softplus", (500, 800)),
        ("fc_softmax4", "softmax", (10, 500)),
    ],
    "mnist_conv": [
        ("conv1", "linear", (64, 1, 5, 5)),
        ("max_pool1", "MaxPooling", None),
        ("conv2", "linear", (87, 64, 5, 5)),
        ("max_pool2", "MaxPooling", None),
        ("fc_relu3", "softplus", (791, 1392)),
        ("fc_softmax4", "softmax", (10, 791)),
    ],
    "cifar": [
        ("fc_linear1", "linear", (486, 3072)),
        ("sincos1", "SinCos", None),
        ("fc_linear2", "linear", (486, 486)),
        ("sincos2", "SinCos", None),
        ("fc_softmax3", "softmax", (10, 486)),
    ],
    "cifar_caffe": [
        ("conv1", "linear", (32, 3, 5, 5)),
        ("pool1", "MaxPooling", None),
        ("relu1", "relu", None),
        ("norm1", "LocalResponseNorm", None),
        ("conv2", "linear", (32, 32, 5, 5)),
        ("relu2", "relu", None),
        ("pool2", "AvgPooling", None),
        ("norm2", "LocalResponseNorm", None),
        ("conv3", "linear", (64, 32, 5, 5)),
        ("relu3", "relu", None),
        ("pool3", "AvgPooling", None),
        ("fc_softmax4", "softmax", (10, 1024)),
    ],
    "cifar_nin": [
        ("conv1", "linear", (192, 3, 5, 5)),
        ("relu1", "relu", None),
        ("conv2", "linear", (160, 192, 1, 1)),
        ("relu2", "relu", None),
        ("conv3", "linear", (96, 160, 1, 1)),
        ("relu3", "relu", None),
        ("pool3", "MaxPooling", None),
        ("drop3", "Dropout", None),
        ("conv4", "linear", (192, 96, 5, 5)),
        ("relu4", "relu", None),
        ("conv5", "linear", (192, 192, 1, 1)),
        ("relu5", "relu", None),
        ("conv6", "linear", (192, 192, 1, 1)),
        ("relu6", "relu", None),
        ("pool6", "AvgPooling", None),
        ("drop6", "Dropout", None),
        ("conv7", "linear", (192, 192, 3, 3)),
        ("relu7", "relu", None),
        ("conv8", "linear", (192, 192, 1, 1)),
        ("relu8", "relu", None),
        ("conv9", "linear", (10, 192, 1, 1)),
        ("relu9", "relu", None),
        ("pool9", "AvgPooling", None),
        ("fc_softmax4", "softmax", (10, 10)),
    ],
    "wine_relu": [("fc_relu1", "softplus", (10, 13)), ("fc_softmax2", "softmax", (3, 10))],
    "lines": [
        ("conv1", "linear", (32, 3, 4, 4)),
        ("max_pooling2", "MaxPooling", None),
        ("conv3", "linear", (64, 32, 4, 4)),
        ("max_pooling4", "MaxPooling", None),
        ("all2all5", "linear", (32, 64 * 42 * 42)),
        ("softmax6", "softmax", (4, 32)),
    ],
    "yale_faces": [("fc_tanh1", "tanh", (100, 30)), ("fc_softmax2", "softmax", (2, 100))],
}
"""For each sample its layers: name, activation or class, and the shape of the weights."""

RUN = {
    "mnist": ("samplewise", 60, 50, 1000000000),
    "mnist_caffe": ("samplewise", 64, 100, 10000),
    "mnist_conv": ("samplewise", 6, 100, 10000000),
    "cifar": ("samplewise", 81, 1000, 1000000000),
    "cifar_caffe": ("internal_mean", 100, 250, 1000000000),
    "cifar_nin": ("internal_mean", 128, 250, 1000000000),
    "wine_relu": ("none", 10, 250, 100000),
    "lines": ("mean_dispersion", 12, 100, 4294967295),
    "yale_faces": ("mean_dispersion", 40, 50, 1000),
}
"""For each sample the normalisation, the minibatch, `fail_iterations` and `max_epochs`."""


def dictionary(name: str) -> dict[str, Any]:
    """Returns VELES's dictionary as it stands in the file."""
    content: dict[str, Any] = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))  # type: ignore[assignment]
    if name == "yale_faces":
        content["loader"].pop("ignored_files")  # is refused: see below
    return content


def composed(name: str, overrides: list[str]) -> Config:
    """Returns the configuration of a sample with overrides."""
    content, _ = translated(dictionary(name))
    return from_hydra(OmegaConf.merge(OmegaConf.structured(Config), content, OmegaConf.from_dotlist(overrides)))


def built(name: str, folder: Path) -> StandardWorkflow:
    """Returns a sample's workflow after three minibatches."""
    result = workflow(composed(name, SAMPLES[name](folder)), folder)
    Stopping(3).run(result)
    return result


def test_every_sample_is_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == SAMPLES.keys() == NETWORKS.keys() == RUN.keys()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_builds_the_network_that_veles_built(name: str, tmp_path: Path) -> None:
    config = composed(name, [])
    run = (
        config.loader.normalization,
        config.loader.minibatch_size,
        config.decision.fail_iterations - 1,  # VELES stops at one more
        config.decision.max_epochs,
    )
    assert run == RUN[name]
    tested = built(name, tmp_path)
    assert (tested.loader.epoch_number, tested.loader.position) != (0, 0)
    layers = [
        (unit.name, getattr(unit, "activation", type(unit).__name__), tuple(weights.shape) if weights is not None else None)
        for unit in tested.forwards
        for weights in [getattr(unit, "weights", None)]
    ]
    assert layers == NETWORKS[name]
    assert all(torch.isfinite(tensor).all() for unit in tested.forwards for tensor in unit.tensors().values())


@pytest.mark.parametrize("name", SAMPLES)
def test_weights_are_filled_as_veles_does(name: str, tmp_path: Path) -> None:
    tested = workflow(composed(name, SAMPLES[name](tmp_path)), tmp_path)
    tested.initialize()
    given = {layer["name"]: layer.get("->", {}) for layer in dictionary(name).get("layers", ())}
    before = None
    for unit in tested.forwards:
        previous, before = before, unit
        if not isinstance(unit, WeightedForward):
            continue
        settings = given.get(unit.name, {})
        kind = settings.get("weights_filling", "uniform")
        outputs, inputs = len(unit.weights), unit.weights[0].numel()
        if isinstance(unit, Conv):
            most = {"tanh": 1.7159, "softplus": 10, "relu": 10}.get(getattr(previous, "activation", ""), 1)
            limit, root = 0.05, 1 / (most * math.sqrt(inputs))
        else:
            limit, root = 0.5, math.sqrt({"tanh": 9, "sigmoid": 1}.get(unit.activation, 10) / (inputs + outputs))
        chosen = min(root / (3 if kind == "gaussian" else 1), limit)
        size = settings.get("weights_stddev", chosen)
        check_filling(unit.weights, kind, size)
        check_filling(unit.bias, settings.get("bias_filling", "uniform"), settings.get("bias_stddev", size))


def check_filling(values: torch.Tensor, kind: str, size: float) -> None:
    """Checks that values may be such ones; of a few only the limits can be told."""
    if kind == "constant":
        assert (values == size).all()
    elif kind == "uniform":
        assert values.abs().max() <= size
        assert values.numel() < 50 or values.abs().max() > 0.8 * size
    else:
        assert values.std().item() == pytest.approx(size, rel=0.5 if values.numel() < 1000 else 0.1)


@pytest.mark.parametrize("name", SAMPLES)
def test_gradient_units_have_the_settings_of_the_dictionary(name: str, tmp_path: Path) -> None:
    conf = dictionary(name)
    adjuster = conf.get("lr_adjuster", {})
    base = (adjuster.get("lr_parameters") or {}).get("base_lr")
    given = {layer["name"]: layer.get("<-", {}) for layer in conf.get("layers", ())}
    tested = workflow(composed(name, SAMPLES[name](tmp_path)), tmp_path)
    for unit in tested.gradients:
        if not isinstance(unit, WeightedGradient):
            continue
        own = given.get(unit.forward.name) or conf["mcdnnic_parameters"]["<-"]
        rate = base or own["learning_rate"]
        moment = own.get("gradient_moment", 0)
        weights, bias = unit.steps["weights"], unit.steps["bias"]
        assert (weights.rate, bias.rate) == (rate, base or own.get("learning_rate_bias", rate))
        assert (weights.decay, bias.decay) == (own.get("weights_decay", 0.00005), own.get("weights_decay_bias", 0))
        assert (weights.momentum, bias.momentum) == (moment, own.get("gradient_moment_bias", moment))
        assert (weights.ortho, bias.ortho) == (own.get("factor_ortho", 0), 0)
        assert (weights.l1, bias.l1) == (0, 0)
    policy = adjuster.get("lr_policy_name", "fixed") if adjuster.get("do") else "fixed"
    assert (tested.lr_adjuster.policy, tested.lr_adjuster.by_minibatch) == (policy, policy != "fixed")


def test_the_rate_of_the_caffe_sample_falls_from_minibatch_to_minibatch(tmp_path: Path) -> None:
    tested = built("mnist_caffe", tmp_path)
    assert tested.lr_adjuster.minibatches == 3
    assert POLICIES["inv"](3, **tested.lr_adjuster.parameters) == (1 + 0.0001 * 3) ** -0.75
    assert {unit.rate_factor for unit in tested.lr_adjuster.gradients} == {(1 + 0.0001 * 3) ** -0.75}


@pytest.mark.parametrize("name", RESUMED)
def test_a_sample_continues_bit_for_bit(name: str, tmp_path: Path, rng: random.Random) -> None:
    check(translated(dictionary(name))[0], SAMPLES[name](tmp_path), tmp_path, rng)


def test_what_is_cut_out_of_a_sample_is_refused() -> None:
    content = OmegaConf.to_container(OmegaConf.load(FOLDER / "yale_faces.yaml"))
    with pytest.raises(
        ConfigError, match=r"loader.ignored_files=\['\.\*Ambient\.\*'\] of VELES is not supported: move the files"
    ):
        translated(content)  # type: ignore[arg-type]


def test_a_dictionary_in_a_folder_of_ones_own_runs_and_continues(veles_run: Run, tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    shutil.copy(FOLDER / "mnist_caffe.yaml", tmp_path / "conf" / "pasted.yaml")
    sizes = ("loader.train_size=200", "loader.validation_size=50")
    done = veles_run("conf=pasted", *sizes, "decision.max_epochs=1", "layers.fc_relu3.output_sample_shape=30", "seed=1")
    assert done.stderr.splitlines() == [
        "veles-run: decision.fail_iterations=100 of VELES is 101 here: the epochs after which the run stops",
        "veles-run: layers.fc_relu3.type=all2all_relu of VELES is all2all_softplus here: log(1 + e^x)",
        "veles-run: weights_plotter of VELES has no effect: plotters=true draws errors, confusion and first weights",
        "veles-run: loader.force_numpy of VELES has no effect: `device` says where the run computes",
    ]
    snapshot = final_snapshot(done.stdout)
    assert re.search(r"mnist_caffe_validation_\S+\.5\.pickle$", snapshot)
    assert "Epoch 2: train" in veles_run(f"snapshot={snapshot}", "decision.max_epochs=2").stdout


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "normalization_type",
            "normalisation_type",
            "conf/wrong.yaml:8: 'loader.normalisation_type' is not a key; did you mean ",
        ),
        (
            "factor_ortho",
            "factor_orto",
            "layers.fc_tanh1.factor_orto is not a key of a 'all2all_tanh' layer; did you mean 'factor_ortho'? known: ",
        ),
        ("weights_plotter", "weight_plotter", "conf/wrong.yaml:9: 'weight_plotter' is not a key; "),
    ],
)
def test_a_mistyped_key_beside_veles_keys_is_an_error(
    veles_run: Run, tmp_path: Path, right: str, wrong: str, message: str
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "wrong.yaml").write_text((FOLDER / "mnist.yaml").read_text().replace(right, wrong))
    assert message in veles_run("conf=wrong", code=2).stderr

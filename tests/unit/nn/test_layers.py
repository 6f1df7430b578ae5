"""Activations, fully connected layers, the softmax evaluator, and dropout."""

import math
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from runner.config import normalized_layers
from runner.config.layers.schema import LAYER_CONFIGS
from runner.errors import ConfigError, RunnerError
from runner.graph import Bool
from runner.nn.evaluators.softmax import SoftmaxEvaluator
from runner.nn.layers.activation_functions import ACTIVATIONS
from runner.nn.layers.layer_types import LAYERS
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.loading.loader_types import LOADERS
from runner.nn.loading.minibatches import Minibatch
from runner.nn.loading.samples import TRAIN, Samples
from tests.networks import LAYERS as BLOBS
from tests.networks import BlobsLoader, network, trained
from tests.units import Holder, LoggedWorkflow

SAMPLES, INPUTS, OUTPUTS = 7, (3, 5), 4

REFERENCE = {
    "linear": lambda x: x,
    "tanh": lambda x: 1.7159 * torch.tanh(0.6666 * x),
    "softplus": lambda x: torch.log(1 + torch.exp(x)),
    "relu": lambda x: torch.clamp(x, min=0),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "log": lambda x: torch.log(x + torch.sqrt(x * x + 1)),
    "softmax": lambda x: functional.softmax(x, 1),
}
FULLY_CONNECTED = [name for name in LAYERS if name.startswith("all2all") or name == "softmax"]


class Bench:
    """One layer between a source of inputs and a source of errors."""

    def __init__(self, kind: str, inputs: Tensor, **settings: object) -> None:
        self.workflow = LoggedWorkflow()
        self.workflow.dtype = torch.float64
        sides = {"output_sample_shape": OUTPUTS} if LAYERS[kind].has_weights else {}
        layer = normalized_layers({"layer": {"type": kind} | sides | settings})["layer"]
        forward, backward = LAYER_CONFIGS[kind]
        source = Holder(self.workflow, "source", data_=inputs, shape=tuple(inputs.shape[1:]), evaluating=Bool(False))
        pick = lambda side: {name: layer[name] for name in side.__dataclass_fields__ if name in layer}  # noqa: E731
        self.source = source
        self.forward = LAYERS[kind].forward(self.workflow, "layer", seed=1, **pick(forward))
        self.forward.link_attrs(source, ("input_", "data_"), ("input_shape", "shape"), "evaluating")
        self.gradient = LAYERS[kind].gradient(self.workflow, self.forward, **pick(backward))
        self.errors = Holder(self.workflow, "errors")
        self.gradient.link_attrs(self.errors, "err_output_")
        self.workflow.initialize()

    def step(self, error: Tensor) -> None:
        self.forward.run()
        self.errors.err_output_ = error
        self.gradient.run()


@pytest.fixture
def numbers(rng: random.Random) -> torch.Generator:
    return torch.Generator().manual_seed(rng.randrange(2**32))


def randn(numbers: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=numbers)


def test_the_tables_of_layers_and_of_their_settings_agree() -> None:
    assert LAYERS.keys() == LAYER_CONFIGS.keys()
    assert REFERENCE.keys() == ACTIVATIONS.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_what_they_are_called(name: str, numbers: torch.Generator) -> None:
    x = 3 * randn(numbers, 6, 9)
    torch.testing.assert_close(ACTIVATIONS[name].apply(ACTIVATIONS[name].gain * x), REFERENCE[name](x))


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
def test_derivatives_are_those_of_autograd(name: str, numbers: torch.Generator) -> None:
    x, error = (3 * randn(numbers, 6, 9)).requires_grad_(), randn(numbers, 6, 9)
    REFERENCE[name](x).backward(error)
    output, kept = REFERENCE[name](x).detach(), error.clone()
    before = output.clone()
    torch.testing.assert_close(ACTIVATIONS[name].derive(error, output), x.grad)
    assert torch.equal(error, kept)
    assert torch.equal(output, before)


def test_softmax_and_evaluator_together_have_the_gradient_of_cross_entropy(numbers: torch.Generator) -> None:
    inputs = randn(numbers, SAMPLES, *INPUTS)
    labels = torch.randint(OUTPUTS, (SAMPLES,), generator=numbers)
    bench = Bench("softmax", inputs, learning_rate=1)
    weights, bias = (value.clone().requires_grad_() for value in (bench.forward.weights, bench.forward.bias))
    x = inputs.clone().requires_grad_()
    functional.cross_entropy(functional.linear(x.flatten(1), weights, bias), labels).backward()
    bench.source.labels_, bench.source.minibatch = labels, Minibatch(TRAIN, 0, SAMPLES, True, True)
    evaluator = SoftmaxEvaluator(bench.workflow)
    evaluator.link_attrs(bench.forward, "output_", "output_shape")
    evaluator.link_attrs(bench.source, "labels_", "minibatch", "evaluating")
    evaluator.initialize()
    bench.forward.run()
    evaluator.run()
    bench.step(evaluator.err_output_)
    torch.testing.assert_close(bench.gradient.err_input_, x.grad)
    torch.testing.assert_close(bench.forward.weights, (weights - weights.grad).detach())
    torch.testing.assert_close(bench.forward.bias, (bias - bias.grad).detach())


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.9])
def test_dropout_scales_what_it_keeps(ratio: float, numbers: torch.Generator) -> None:
    inputs, error = randn(numbers, 50, *INPUTS), randn(numbers, 50, *INPUTS)
    bench = Bench("dropout", inputs, dropout_ratio=ratio)
    bench.step(error)
    mask = bench.forward.mask_
    kept = mask != 0
    torch.testing.assert_close(mask, kept / torch.tensor(1 - ratio, dtype=torch.float64))
    assert torch.equal(bench.forward.output_, inputs * mask)
    assert torch.equal(bench.gradient.err_input_, error * mask)
    assert abs(kept.double().mean() - (1 - ratio)) < 6 * math.sqrt(max(ratio * (1 - ratio), 1e-9) / mask.numel())
    assert bench.forward.output_shape == INPUTS


def test_dropout_does_nothing_in_evaluation(numbers: torch.Generator) -> None:
    inputs = randn(numbers, SAMPLES, *INPUTS)
    bench = Bench("dropout", inputs, dropout_ratio=0.5)
    bench.source.evaluating <<= True
    state = bench.forward.stream.__getstate__()["state"]
    bench.forward.run()
    assert torch.equal(bench.forward.output_, inputs)
    assert torch.equal(bench.forward.stream.__getstate__()["state"], state)


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5])
def test_dropout_refuses_a_ratio_out_of_range(ratio: float) -> None:
    message = r"layers.layer: dropout_ratio=.* must be at least 0 and below 1"
    with pytest.raises(ConfigError, match=message):
        Bench("dropout", torch.zeros(1, 2), dropout_ratio=ratio)


@pytest.mark.parametrize("kind", FULLY_CONNECTED)
def test_fillings(kind: str) -> None:
    inputs = torch.zeros((1, 400), dtype=torch.float64)
    settings = {"output_sample_shape": 300, "bias_filling": "constant", "bias_stddev": -0.5}
    gaussian = Bench(kind, inputs, weights_filling="gaussian", weights_stddev=0.2, **settings).forward
    assert gaussian.weights.shape == (300, 400)
    assert gaussian.weights.std().item() == pytest.approx(0.2, rel=0.05)
    assert torch.equal(gaussian.bias, torch.full((300,), -0.5, dtype=torch.float64))
    uniform = Bench(kind, inputs, output_sample_shape=300).forward
    assert 0.99 / 20 < uniform.weights.abs().max() <= 1 / 20
    assert 0.9 / 20 < uniform.bias.abs().max() <= 1 / 20
    assert torch.equal(uniform.weights, Bench(kind, inputs, output_sample_shape=300).forward.weights)


# VELES's formulas by hand: sqrt(C / (inputs + outputs)) and at most 0.5, where C is 10, for tanh 9
# and for sigmoid 1; a third of the root for a gaussian distribution.
@pytest.mark.parametrize(
    ("kind", "inputs", "outputs", "size", "gaussian"),
    [
        ("all2all", 200, 50, 0.2, 0.2 / 3),
        ("softmax", 200, 3, 0.22195, 0.073983),
        ("all2all_relu", 30, 10, 0.5, 0.5 / 3),
        ("all2all_softplus", 900, 100, 0.1, 0.1 / 3),
        ("all2all_tanh", 80, 20, 0.3, 0.1),
        ("all2all_tanh", 13, 8, 0.5, 0.218218),
        ("all2all_tanh", 1, 1, 0.5, 0.5),
        ("all2all_sigmoid", 60, 40, 0.1, 0.1 / 3),
    ],
)
def test_fillings_whose_size_veles_chooses(kind: str, inputs: int, outputs: int, size: float, gaussian: float) -> None:
    samples = torch.zeros((1, inputs), dtype=torch.float64)
    settings = {"output_sample_shape": outputs, "default_stddev": "veles", "bias_filling": "constant"}
    uniform = Bench(kind, samples, **settings).forward
    assert torch.equal(uniform.bias, torch.full((outputs,), uniform.bias[0], dtype=torch.float64))
    assert uniform.bias[0].item() == pytest.approx(size, rel=1e-4)
    assert uniform.weights.abs().max() <= uniform.bias[0]
    normal = Bench(kind, samples, weights_filling="gaussian", **settings).forward
    assert normal.bias[0].item() == pytest.approx(gaussian, rel=1e-4)
    if outputs * inputs > 1000:
        assert uniform.weights.std().item() == pytest.approx(size / math.sqrt(3), rel=0.1)
        assert normal.weights.std().item() == pytest.approx(gaussian, rel=0.1)
    given = Bench(kind, samples, weights_stddev=0.3, **settings).forward
    assert torch.equal(given.bias, torch.full((outputs,), 0.3, dtype=torch.float64))


# 1 / (m sqrt(kx ky channels)) and at most 0.05, where m is what the layer before gives at most.
@pytest.mark.parametrize(
    ("before", "channels", "size"),
    [
        ("conv", 4, 0.05),  # 1 / 10
        ("conv", 100, 0.02),  # 1 / 50
        ("conv_tanh", 16, 0.029139),  # 1 / (1.7159 20)
        ("conv_relu", 4, 0.01),  # 1 / (10 10)
        ("conv_softplus", 16, 0.005),
        ("conv_sigmoid", 100, 0.02),
    ],
)
def test_fillings_of_convolutions_whose_size_veles_chooses(before: str, channels: int, size: float) -> None:
    kernel = {"kx": 1, "ky": 1, "n_kernels": channels}
    settings = {"kx": 5, "ky": 5, "n_kernels": 2, "default_stddev": "veles", "bias_filling": "constant", "grouping": 2}
    layers = {
        "before": {"type": before, **kernel},
        "after": {"type": "conv", **settings},
        "out": {"type": "softmax", "output_sample_shape": 3},
    }
    workflow = network(layers=layers, loader_name="squares")
    workflow.initialize()
    assert workflow.forwards[1].bias[0].item() == pytest.approx(size, rel=1e-4)


class Squares(BlobsLoader):
    """Images of 5 x 5."""

    def load_data(self) -> dict[int, Samples]:
        return {TRAIN: Samples(np.arange(75.0).reshape(3, 1, 5, 5), np.arange(3))}


LOADERS["squares"] = Squares


def test_a_multidimensional_sample_shape_is_a_number_of_outputs(numbers: torch.Generator) -> None:
    bench = Bench("all2all", randn(numbers, SAMPLES, *INPUTS), output_sample_shape=[2, 3])
    bench.step(randn(numbers, SAMPLES, 2, 3))
    assert bench.forward.output_shape == (2, 3)
    assert bench.forward.weights.shape == (6, 15)


@pytest.mark.parametrize("kind", FULLY_CONNECTED)
def test_all_settings_of_the_backward_side_can_change_later(kind: str) -> None:
    gradient = Bench(kind, torch.zeros((1, 2), dtype=torch.float64)).gradient
    assert isinstance(gradient, WeightedGradient)
    assert gradient.adjustable == set(LAYER_CONFIGS[kind][1].__dataclass_fields__)
    gradient.reconfigure(learning_rate=0.5, gradient_momentum=0.25, weights_decay=0.125, l1_vs_l2=1.0)
    assert (gradient.steps["weights"].rate, gradient.steps["bias"].rate) == (0.5, 0.5)
    assert (gradient.steps["weights"].momentum, gradient.steps["bias"].momentum) == (0.25, 0.25)
    assert (gradient.steps["weights"].decay, gradient.steps["bias"].decay) == (0.125, 0.0)
    gradient.reconfigure(learning_rate_bias=0.1, gradient_momentum_bias=0.0, weights_decay_bias=None, l1_vs_l2_bias=0.5)
    step = gradient.steps["bias"]
    assert (step.rate, step.momentum, step.decay, step.l1) == (0.1, 0.0, 0.125, 0.5)


class Faulty(torch.nn.Module):
    """A layer of which one thing is wrong."""

    def __init__(self, wrong: str) -> None:
        if wrong == "init":
            return
        super().__init__()
        self.wrong = wrong
        self.inner = torch.nn.LazyLinear(3) if wrong == "lazy" else torch.nn.Linear(6, 3)
        self.norm = torch.nn.BatchNorm1d(3) if wrong == "alone" else torch.nn.Identity()
        if wrong == "lambda":
            self.inner.shift = lambda x: x

    def forward(self, x: torch.Tensor) -> object:
        y = self.norm(self.inner(x.flatten(1)))
        return {"none": None, "pair": (y, y), "double": y.double(), "int": y.long(), "detached": y.detach()}.get(self.wrong, y)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("init", r"layers.mine: tests.unit.nn.test_layers.Faulty does not call super\(\).__init__\(\)"),
        ("none", r"layers.mine \(Faulty\) returns NoneType instead of a tensor"),
        ("pair", r"layers.mine \(Faulty\) returns a tuple of 2 instead of a tensor"),
        ("double", r"layers.mine \(Faulty\) returns values of torch.float64, and the run has torch.float32"),
        ("int", r"layers.mine \(Faulty\) returns values of torch.int64"),
        ("detached", r"layers.mine \(Faulty\) gives a result without a gradient"),
        ("lazy", r"layers.mine: .*Faulty leaves the shape of inner.weight to its first input"),
        ("alone", r"layers.mine \(Faulty\) fails on a minibatch of 1: .* another loader.minibatch_size"),
        ("lambda", r"Module\('mine'\).module.inner.shift cannot be pickled"),
    ],
)
def test_what_is_wrong_with_a_layer_of_ones_own_names_it(wrong: str, message: str, tmp_path: Path) -> None:
    layers = {"mine": {"_target_": f"{__name__}.Faulty", "wrong": wrong}, "out": BLOBS["out"]}
    loader = {"minibatch_size": 1} if wrong == "alone" else {}
    with pytest.raises(RunnerError, match=message):
        trained(tmp_path, layers=layers, loader_config=loader)


def test_outputs_that_labels_would_give_need_labels() -> None:
    layers = {"out": {"type": "softmax", "learning_rate": 0.1}}
    with pytest.raises(
        ConfigError, match=r"layers.out has an output for each label, and the data have no labels: loader.label="
    ):
        trained(
            loader_name="dataset",
            loader_config={"train": {"_target_": "tests.data.Points", "size": 9, "value": True}},
            layers=layers,
        )

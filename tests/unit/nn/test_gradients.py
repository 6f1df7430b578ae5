"""Each type of layer against torch's autograd, in double precision. A type without a check fails."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from runner.config import layer_sides, normalized_layers
from runner.errors import ConfigError
from runner.graph import Bool
from runner.nn.layers.base import Forward
from runner.nn.layers.layer_types import LAYERS
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.training.held import Held
from tests.unit.nn.test_layers import REFERENCE
from tests.units import Holder, LoggedWorkflow

SAMPLES = 3
IMAGE = (4, 7, 6)
PLANE = (7, 6)


class Check(NamedTuple):
    """A layer, the shape of its samples, and what it should compute, of the input and the layer."""

    settings: dict[str, Any]
    shape: tuple[int, ...]
    expected: Callable[[Tensor, Any], Tensor]
    before: dict[str, Any] | None = None
    """The layer before it, named `before`."""


ACTIVATION = {
    "": REFERENCE["linear"],
    "_tanh": REFERENCE["tanh"],
    "_relu": REFERENCE["relu"],
    "_softplus": REFERENCE["softplus"],
    "_sigmoid": REFERENCE["sigmoid"],
    "_log": REFERENCE["log"],
}


def all2all(function: Callable[[Tensor], Tensor]) -> list[Check]:
    expected = lambda x, layer: function(functional.linear(x.flatten(1), layer.weights, layer.bias))  # noqa: E731
    return [Check({"output_sample_shape": 5, "include_bias": bias}, (2, 3), expected) for bias in (True, False)]


def conv(function: Callable[[Tensor], Tensor]) -> list[Check]:
    def check(shape: tuple[int, ...], padding: Any = 0, sliding: Any = 1, **settings: Any) -> Check:
        def expected(x: Tensor, layer: Any) -> Tensor:
            x = x.unsqueeze(1) if x.dim() == 3 else x
            left, top, right, bottom = padding if isinstance(padding, list) else [padding] * 4
            x = functional.pad(x, (left, right, top, bottom))
            stride = tuple(reversed(sliding)) if isinstance(sliding, list) else sliding
            groups = settings.get("grouping", 1)
            return function(functional.conv2d(x, layer.weights, layer.bias, stride, groups=groups))

        own = {"n_kernels": 6, "kx": 3, "ky": 2, "padding": padding, "sliding": sliding} | settings
        return Check(own, shape, expected)

    return [
        check(PLANE),
        check(IMAGE, padding=1),
        check(IMAGE, padding=[2, 0, 1, 1], sliding=[2, 3], grouping=2),
        check(IMAGE, padding=[1, 2, 1, 2], sliding=2, include_bias=False),
    ]


def pooling(function: Callable[[Tensor, list[int], list[int]], Tensor]) -> list[Check]:
    def check(shape: tuple[int, ...], kx: int, ky: int, sliding: Any = None) -> Check:
        x_step, y_step = (kx, ky) if sliding is None else sliding

        def expected(x: Tensor, layer: Any) -> Tensor:
            x = x.unsqueeze(1) if x.dim() == 3 else x
            return torch.stack(
                [
                    torch.stack(
                        [
                            function(x[:, :, top : top + ky, left : left + kx].flatten(2), [top, left], [ky, kx])
                            for left in range(0, layer.output_shape[2] * x_step, x_step)
                        ],
                        2,
                    )
                    for top in range(0, layer.output_shape[1] * y_step, y_step)
                ],
                2,
            )

        settings = {"kx": kx, "ky": ky} | ({} if sliding is None else {"sliding": sliding})
        return Check(settings, shape, expected)

    return [check(IMAGE, 2, 2), check(PLANE, 3, 2), check(IMAGE, 3, 3, [2, 2]), check(IMAGE, 3, 4, [1, 3])]


def max_abs(window: Tensor, *_: Any) -> Tensor:
    return window.gather(2, window.abs().argmax(2, keepdim=True)).squeeze(2)


def drawn(absolute: bool) -> list[Check]:
    """What was drawn is the layer's affair; the values and their gradient are those of the places."""

    def expected(x: Tensor, layer: Any) -> Tensor:
        planes = (x.unsqueeze(1) if x.dim() == 3 else x).flatten(2)
        values = planes.gather(2, layer.indices_.flatten(2)).view(layer.indices_.shape)
        return values if absolute else values.clamp(min=0)

    return [check._replace(expected=expected) for check in pooling(max_abs)]


def local_response_norm(x: Tensor, layer: Any) -> Tensor:
    half, channels = layer.n // 2, x.shape[1]
    sums = [x[:, max(0, c - half) : c + half + 1].square().sum(1) for c in range(channels)]
    return x * (layer.k + layer.alpha * torch.stack(sums, 1)) ** -layer.beta


def batch_norm(x: Tensor, layer: Any) -> Tensor:
    x = x.unsqueeze(1) if x.dim() == 3 else x
    others = [0] if x.dim() == 2 else [0, 2, 3]
    shape = [1, -1] if x.dim() == 2 else [1, -1, 1, 1]
    mean, variance = x.mean(others, keepdim=True), x.var(others, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + layer.epsilon) * layer.weights.view(shape) + layer.bias.view(shape)


def deconv(**settings: Any) -> Check:
    def expected(x: Tensor, layer: Any) -> Tensor:
        conv = layer.conv_
        left, top, right, bottom = conv.padding
        channels, height, width = conv.image_shape_
        full = torch.zeros((len(x), channels, height + top + bottom, width + left + right), dtype=x.dtype, requires_grad=True)
        output = functional.conv2d(full, layer.weights, None, conv.stride, groups=conv.grouping)
        (image,) = torch.autograd.grad(output, full, x, create_graph=True)
        image = image[:, :, top : top + height, left : left + width]
        return image if layer.bias is None else image + layer.bias.view(-1, 1, 1)

    before = {"type": "conv", "n_kernels": 6, "kx": 3, "ky": 2, "padding": [1, 2, 0, 1], "sliding": [2, 1], "grouping": 2}
    return Check({"conv": "before"} | settings, IMAGE, expected, before)


def depooling(kind: str, **window: Any) -> Check:
    def expected(x: Tensor, layer: Any) -> Tensor:
        planes = torch.zeros((*x.shape[:2], IMAGE[1] * IMAGE[2]), dtype=x.dtype)
        places = layer.pooling_.indices_.flatten(2)
        return planes.scatter_add(2, places, x.flatten(2)).view(len(x), *IMAGE)

    return Check({"pooling": "before"}, IMAGE, expected, {"type": kind} | window)


def module(x: Tensor, layer: Any) -> Tensor:
    return functional.conv2d(x, layer.weight, layer.bias, 2, 1)


CHECKS: dict[str, list[Check]] = {
    **{f"all2all{suffix}": all2all(ACTIVATION[suffix]) for suffix in ACTIVATION if suffix != "_log"},
    # The evaluator's error is that of softmax and cross-entropy together, so the layer's own step is that of a linear one.
    "softmax": all2all(lambda x: x),
    **{f"conv{suffix}": conv(ACTIVATION[suffix]) for suffix in ACTIVATION if suffix != "_log"},
    "deconv": [deconv(), deconv(include_bias=True), deconv(tied=False, include_bias=True)],
    "max_pooling": pooling(lambda window, *_: window.max(2).values),
    "avg_pooling": pooling(lambda window, *_: window.mean(2)),
    "maxabs_pooling": pooling(max_abs),
    "stochastic_pooling": drawn(absolute=False),
    "stochastic_abs_pooling": drawn(absolute=True),
    "depooling": [
        depooling("max_pooling"),
        depooling("maxabs_pooling", kx=3, ky=3, sliding=2),
        depooling("stochastic_abs_pooling"),
    ],
    "dropout": [Check({"dropout_ratio": 0.3}, IMAGE, lambda x, layer: x * layer.mask_)],
    "local_response_norm": [
        Check({"alpha": 0.3, "beta": 0.6, "k": 1.5, "n": n}, IMAGE, local_response_norm) for n in (1, 3, 5)
    ],
    "batch_norm": [Check({}, shape, batch_norm) for shape in (IMAGE, PLANE, (5,))],
    **{f"activation{suffix}": [Check({}, IMAGE, lambda x, _, s=suffix: ACTIVATION[s](x))] for suffix in ACTIVATION if suffix},
    "activation_sincos": [
        Check({}, (5,), lambda x, _: torch.where(torch.arange(5) % 2 == 1, x.sin(), x.cos())),
        Check({}, PLANE, lambda x, _: torch.stack([x.flatten(1)[:, ::2].cos(), x.flatten(1)[:, 1::2].sin()], 2).view(x.shape)),
    ],
    "activation_mul": [Check({"factor": -1.5}, (5,), lambda x, layer: -1.5 * x)],
    "cutter": [
        Check({"padding": [1, 2, 0, 1]}, IMAGE, lambda x, layer: x[:, :, 2:6, 1:]),
        Check({"padding": 1}, PLANE, lambda x, layer: x[:, None, 1:6, 1:5]),
    ],
    "module": [
        Check(
            {"_target_": "torch.nn.Conv2d", "in_channels": 4, "out_channels": 3, "kernel_size": 3, "stride": 2, "padding": 1},
            IMAGE,
            module,
        )
    ],
}

CASES = [(kind, number) for kind in LAYERS for number in range(len(CHECKS.get(kind, ())) or 1)]


class Bench:
    """One layer, and one before it where it needs that, between a source of inputs and a source of errors."""

    def __init__(self, kind: str, check: Check, inputs: Tensor, **settings: Any) -> None:
        self.workflow = LoggedWorkflow()
        self.workflow.dtype = inputs.dtype
        self.source = Holder(self.workflow, "source", data_=inputs, shape=tuple(inputs.shape[1:]), evaluating=Bool(False))
        layers = {} if check.before is None else {"before": check.before}
        layers = normalized_layers(layers | {"layer": {"type": kind} | check.settings | settings})
        self.forwards: list[Forward] = []
        for name, layer in layers.items():
            forward = LAYERS[layer["type"]].forward(self.workflow, name, seed=1, **layer_sides(layer)[0])
            if self.forwards:
                forward.link_attrs(self.forwards[-1], ("input_", "output_"), ("input_shape", "output_shape"))
            else:
                forward.link_attrs(self.source, ("input_", "data_"), ("input_shape", "shape"))
            forward.link_attrs(self.source, "evaluating")
            self.forwards.append(forward.link_from(self.forwards[-1] if self.forwards else self.source))
        self.forward: Any = self.forwards[-1]
        self.gradient = LAYERS[kind].gradient(self.workflow, self.forward, **layer_sides(layers["layer"])[1])
        self.errors = Holder(self.workflow, "errors")
        self.gradient.link_attrs(self.errors, "err_output_")
        self.source.link_from(self.workflow.start_point)
        self.workflow.initialize()

    def run(self) -> None:
        for forward in self.forwards:
            forward.run()


def parameters(layer: Any) -> dict[str, Tensor]:
    """Returns copies of a layer's parameters, by name."""
    if hasattr(layer, "module"):
        found = dict(layer.module.named_parameters())
    else:
        found = {name: getattr(layer, name) for name in ("weights", "bias") if getattr(layer, name, None) is not None}
    return {name: value.detach().clone().requires_grad_() for name, value in found.items()}


class View:
    """A layer seen with other parameters."""

    def __init__(self, layer: Any, own: dict[str, Tensor]) -> None:
        self.layer, self.own = layer, own

    def __getattr__(self, name: str) -> Any:
        return self.own[name] if name in self.own else getattr(self.layer, name)


@pytest.fixture
def numbers(rng: random.Random) -> torch.Generator:
    return torch.Generator().manual_seed(rng.randrange(2**32))


def randn(numbers: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=numbers)


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_output_and_gradients_are_those_of_autograd(kind: str, number: int, numbers: torch.Generator) -> None:
    check = CHECKS[kind][number]
    bench = Bench(
        kind, check, randn(numbers, SAMPLES, *check.shape), **{"learning_rate": 1} if LAYERS[kind].has_weights else {}
    )
    before = parameters(bench.forward)
    bench.run()
    x = bench.forward.input_.detach().clone().requires_grad_()
    expected = check.expected(x, View(bench.forward, before))
    if kind != "softmax":
        torch.testing.assert_close(bench.forward.output_, expected.detach())
    assert tuple(bench.forward.output_.shape[1:]) == bench.forward.output_shape
    kept = bench.forward.input_.clone()
    error = randn(numbers, *expected.shape)
    expected.backward(error)
    bench.errors.err_output_ = error
    bench.gradient.run()
    torch.testing.assert_close(bench.gradient.err_input_, x.grad)
    assert torch.equal(bench.forward.input_, kept)
    after = parameters(bench.forward)
    for name, value in before.items():
        torch.testing.assert_close(after[name].detach(), (value - value.grad).detach())


@pytest.mark.parametrize("held", [False, True], ids=["descent", "torch"])
@pytest.mark.parametrize("kind", [kind for kind in LAYERS if LAYERS[kind].has_weights])
def test_every_gradient_passes_by_the_one_place_where_it_meets_its_parameter(
    kind: str, held: bool, numbers: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = CHECKS[kind][-1]
    bench = Bench(kind, check, randn(numbers, SAMPLES, *check.shape))
    if held:
        bench.gradient.steps = {name: Held() for name in bench.gradient.steps}
    before = parameters(bench.forward)
    met: dict[str, tuple[int, ...]] = {}

    def meet(self: WeightedGradient, name: str, parameter: Tensor, *gradient: Tensor) -> None:
        met[name] = tuple(parameter.shape)

    monkeypatch.setattr(WeightedGradient, "apply", meet)
    if not held:
        monkeypatch.setattr(WeightedGradient, "apply_product", meet)
    bench.run()
    bench.errors.err_output_ = randn(numbers, *bench.forward.output_.shape)
    bench.gradient.run()
    assert met == {name: tuple(value.shape) for name, value in before.items()}
    after = parameters(bench.forward)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("kind", [kind for kind in LAYERS if LAYERS[kind].has_weights])
def test_the_first_layer_spares_the_error_at_its_input(kind: str, numbers: torch.Generator) -> None:
    check = CHECKS[kind][0]
    bench = Bench(kind, check, randn(numbers, SAMPLES, *check.shape))
    bench.gradient.needs_err_input = False
    bench.run()
    bench.errors.err_output_ = randn(numbers, *bench.forward.output_.shape)
    bench.gradient.run()
    assert isinstance(bench.gradient, WeightedGradient)
    assert not hasattr(bench.gradient, "err_input_")


def test_batch_norm_keeps_running_statistics_for_evaluation(numbers: torch.Generator) -> None:
    bench = Bench("batch_norm", CHECKS["batch_norm"][0], 3 + 2 * randn(numbers, 50, *IMAGE), momentum=0.25)
    for _ in range(40):
        bench.run()
    data, layer = bench.source.data_, bench.forward
    torch.testing.assert_close(layer.mean, data.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(layer.variance, data.var((0, 2, 3)), rtol=1e-4, atol=1e-4)
    kept = layer.mean.clone()
    bench.source.evaluating <<= True
    bench.source.data_ = data[:1]
    bench.run()
    scaled = (data[:1] - kept.view(-1, 1, 1)) / torch.sqrt(layer.variance.view(-1, 1, 1) + layer.epsilon)
    torch.testing.assert_close(layer.output_, scaled)
    assert torch.equal(layer.mean, kept)


@pytest.mark.parametrize("kind", ["stochastic_pooling", "stochastic_abs_pooling"])
def test_stochastic_pooling_draws_in_proportion_and_evaluates_to_the_mean(kind: str) -> None:
    window = torch.tensor([[1.0, -2.0], [3.0, 4.0]], dtype=torch.float64)
    bench = Bench(kind, Check({}, (2, 2), lambda x, layer: x), window.expand(20_000, 2, 2))
    bench.run()
    weights = (window.abs() if kind == "stochastic_abs_pooling" else window.clamp(min=0)).flatten()
    shares = torch.stack([(bench.forward.output_ == value).double().mean() for value in window.flatten()])
    torch.testing.assert_close(shares, weights / weights.sum(), atol=0.03, rtol=0)
    bench.source.evaluating <<= True
    bench.run()
    torch.testing.assert_close(bench.forward.output_[0, 0, 0, 0], (weights * window.flatten()).sum() / weights.sum())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # (1 + 2 * 2 + 4 * 4) / (1 + 2 + 4), 6 * 6 / 6, and nothing where no value is above 0
        ("stochastic_pooling", [[3.0, 6.0], [0.0, 0.0]]),
        # (1 + 2 * 2 + 4 * 4 - 5 * 5) / (1 + 2 + 4 + 5), (-3 * 3 + 6 * 6) / (3 + 6), -7 * 7 / 7, -8 * 8 / 8
        ("stochastic_abs_pooling", [[-1 / 3, 3.0], [-7.0, -8.0]]),
    ],
)
def test_stochastic_pooling_evaluates_to_what_is_worked_out_by_hand(kind: str, expected: list[list[float]]) -> None:
    image = torch.tensor([[[1.0, 2.0, -3.0], [4.0, -5.0, 6.0], [0.0, -7.0, -8.0]]], dtype=torch.float64)
    bench = Bench(kind, Check({}, (3, 3), lambda x, layer: x), image)
    bench.source.evaluating <<= True
    bench.run()
    torch.testing.assert_close(bench.forward.output_[0, 0], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("kind", "settings", "shape", "message"),
    [
        ("conv", {"n_kernels": 2}, (5,), r"layers.layer needs images of \(channels, height, width\) or .* of \(5,\)"),
        ("conv", {"n_kernels": 2, "kx": 9}, (3, 8, 8), r"layers.layer: its window of 5 x 9 \(ky x kx\) does not fit .* 8 x 8"),
        ("conv", {"n_kernels": 2, "grouping": 2}, (3, 8, 8), "layers.layer.grouping=2 does not divide its 3 input channels"),
        ("max_pooling", {"kx": 9}, (8, 8), r"layers.layer: its window of 2 x 9"),
        ("cutter", {"padding": 4}, (8, 8), r"layers.layer.padding=\[4, 4, 4, 4\] leaves nothing of 8 x 8 images"),
        ("deconv", {"conv": "nobody"}, (3, 8, 8), "layers.layer.conv='nobody' is not the name of a Conv layer before it"),
        ("depooling", {"pooling": "source"}, (3, 8, 8), "layers.layer.pooling='source' is not the name of a Pooling layer"),
        (
            "module",
            {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2},
            (5,),
            r"layers.layer \(Linear\) does not take samples of \(5,\)",
        ),
        (
            "module",
            {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3},
            (8, 8),
            r"layers.layer \(Conv2d\) does not take samples of \(8, 8\): .*expected input\[1, 3, 8, 8\] to have 1 channels",
        ),
        (
            "module",
            {"_target_": "torch.nn.Flatten", "start_dim": 0},
            (5,),
            r"layers.layer \(Flatten\) does not take samples of \(5,\): it makes \(15,\) of 3 of them",
        ),
        (
            "module",
            {"_target_": "torch.nn.Bogus"},
            (5,),
            "layers.layer._target_='torch.nn.Bogus': the module 'torch.nn' has no 'Bogus'",
        ),
        ("module", {"_target_": "torch.Size"}, (5,), "layers.layer._target_=torch.Size is not a torch.nn.Module"),
    ],
)
def test_shapes_that_do_not_fit_name_the_layer(kind: str, settings: dict[str, Any], shape: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Bench(kind, Check(settings, shape, lambda x, layer: x), torch.zeros((2, *shape), dtype=torch.float64))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "conv"}, "layers.a: n_kernels is missing: it must be at least 1"),
        ({"type": "conv", "n_kernels": 3, "kx": 0}, "layers.a: kx=0 must be at least 1"),
        (
            {"type": "conv", "n_kernels": 3, "padding": [1, 2]},
            r"layers.a: padding=\[1, 2\] must be a number of at least 0, or a",
        ),
        ({"type": "conv", "n_kernels": 3, "sliding": 0}, "layers.a: sliding=0 must be a number of at least 1, or a list of 2"),
        ({"type": "conv", "n_kernels": 3, "grouping": 2}, "layers.a: n_kernels=3 must be a multiple of grouping=2"),
        ({"type": "deconv"}, "layers.a: conv must name an earlier convolution"),
        ({"type": "depooling"}, "layers.a: pooling must name an earlier pooling layer"),
        ({"type": "local_response_norm", "n": 4}, r"layers.a: n=4 must be odd and at least 1 \(channels\)"),
        ({"type": "local_response_norm", "k": 0}, "layers.a: k=0.0 must be above 0"),
        ({"type": "batch_norm", "momentum": 0}, "layers.a: momentum=0.0 must be above 0 and at most 1"),
        ({"type": "batch_norm", "epsilon": 0}, "layers.a: epsilon=0.0 must be above 0"),
        ({"type": "module"}, "layers.a: _target_ must name a class"),
        (
            {"type": "max_pooling", "n_kernels": 3},
            "layers.a.n_kernels is not a key of a 'max_pooling' layer; known: ky, ?kx|kx",
        ),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        normalized_layers({"a": settings})

"""Writes the first conf file for data: a network of a sensible size, with a comment at all that one may want to change."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import yaml

from runner.cli.starting.look import Look
from runner.cli.starting.new_files import literal
from runner.text import shown

Layers = dict[str, dict[str, Any]]

UPDATES = 5_000
"""How often the weights are changed in a first run, about."""
FEWEST_EPOCHS, MOST_EPOCHS = 10, 100
MINIBATCHES = {500: 10, 2_000: 20, 10_000: 50}
"""The size of a minibatch for fewer samples than these; 100 for more."""
DEEP = 1_000
"""From so many samples on, a second hidden layer pays."""
BLOCKS = 3
"""Convolutions with a pooling each, at most."""
VALIDATION = 0.2


def conf_text(name: str, look: Look) -> str:
    """Returns the text of a conf file.

    Args:
        name: what the conf is called.
        look: what was found in the data.
    """
    return "\n".join(_lines(name, look)) + "\n"


def _lines(name: str, look: Look) -> Iterator[str]:
    yield f"# {_title(look)}"
    yield from (f"# {shown(note)}" for note in look.notes)
    yield f"# `veles-run {name} --help` lists every key; `veles-run {name} KEY=VALUE` tries another value once."
    yield "loader:"
    yield from (f"  {key}: {_yaml(value)}" for key, value in look.loader.items())
    yield f"  minibatch_size: {_minibatch(look.samples)}"
    if not look.has_validation:
        yield f"  validation_ratio: {VALIDATION}  # this share of the samples is set apart: the run is scored on it"
    if look.classes is None:
        yield "loss_function: mse"
    yield "layers:  # from first to last"
    yield from (f"  {layer}: {_yaml(settings)}{_remark(settings)}" for layer, settings in first_layers(look).items())
    yield "optimizer:"
    yield "  _target_: torch.optim.AdamW"
    yield f"  lr: {0.001 if look.is_image else 0.003}  # the learning rate is the first thing to try other values of"
    yield "decision:"
    epochs = _epochs(look.samples)
    yield f"  max_epochs: {epochs}"
    yield f"  fail_iterations: {max(5, epochs // 5)}  # the run is over after this many epochs without an improvement"


def _title(look: Look) -> str:
    return shown(f"{look.what}: a network that {look.task}.")


def first_layers(look: Look) -> Layers:
    """Returns layers by their names: convolutions for images, one or two hidden layers, and what the answer needs."""
    layers: Layers = {}
    width = look.values
    if look.is_image:
        height, across = look.shape[-2:]
        for number in range(1, BLOCKS + 1):
            if min(height, across) < 8:
                break
            kernels = 8 << number
            layers[f"conv{number}"] = {"type": "conv_relu", "n_kernels": kernels, "kx": 3, "ky": 3, "padding": 1}
            layers[f"pool{number}"] = {"type": "max_pooling", "kx": 2, "ky": 2}
            height, across = -(-height // 2), -(-across // 2)
            width = kernels * height * across
    autoencoder = look.classes is None and look.targets is None
    hidden = max(1, width // 4) if autoencoder else 1 << min(7, max(4, math.ceil(math.log2(2 * width))))
    layers["fc1"] = {"type": "all2all_relu", "output_sample_shape": hidden}
    if look.samples >= DEEP and not look.is_image and not autoencoder:
        layers["fc2"] = {"type": "all2all_relu", "output_sample_shape": hidden // 2}
    if look.classes is not None:
        return layers | {"out": {"type": "softmax", "output_sample_shape": look.classes}}
    if look.targets is None:
        return layers | {"out": {"type": "all2all", "output_sample_shape": _size(look.shape)}}
    out: dict[str, Any] = {"type": "all2all", "output_sample_shape": _size(look.targets.shape)}
    if look.targets.is_small:
        return layers | {"out": out}
    begin = _rounded(look.targets.mean / look.targets.deviation)
    out |= {"bias_filling": "constant", "bias_stddev": begin}
    return layers | {"out": out, "unit": {"type": "activation_mul", "factor": _rounded(look.targets.deviation)}}


def _size(shape: tuple[int, ...]) -> Any:
    return list(shape) if len(shape) > 1 else math.prod(shape)


def _rounded(number: float) -> float:
    return float(f"{number:.3g}")


def _minibatch(samples: int) -> int:
    return next((size for limit, size in MINIBATCHES.items() if samples < limit), 100)


def _epochs(samples: int) -> int:
    updates = max(1, round(samples * (1 - VALIDATION) / _minibatch(samples)))
    return min(MOST_EPOCHS, max(FEWEST_EPOCHS, round(UPDATES / updates)))


def _remark(settings: dict[str, Any]) -> str:
    if settings["type"] == "softmax":
        return "  # an output for each class"
    return "  # from the scale of the network to the targets' own: outputs begin at their mean" if "factor" in settings else ""


def _yaml(value: Any) -> str:
    """Returns a value as YAML has it within a line; `${` of a name is no reference."""
    text: str = yaml.safe_dump(literal(value), default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True)
    return text.removesuffix("\n...\n").rstrip("\n")

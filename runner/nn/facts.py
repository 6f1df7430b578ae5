"""What there is to say of a network and its data before it is trained."""

from __future__ import annotations

from dataclasses import dataclass

from runner.nn.core import parts
from runner.nn.layers.base import Forward
from runner.nn.loading.samples import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from runner.nn.standard_workflow import StandardWorkflow

NAMED = 60
"""The most characters that the names of classes take in a line; else there is their number alone."""


@dataclass(frozen=True)
class Layer:
    """A layer: its name and type in the configuration, the shape of a sample of its output, and how many numbers it learns."""

    name: str
    type: str
    shape: tuple[int, ...]
    parameters: int


def layers(workflow: StandardWorkflow) -> list[Layer]:
    """Returns the layers of an initialized workflow, from first to last."""
    return [
        Layer(unit.name, str(workflow.layer_settings[unit.name]["type"]), tuple(unit.output_shape), _parameters(unit))
        for unit in workflow.forwards
    ]


def _parameters(unit: Forward) -> int:
    return sum(value.numel() for name, value in unit.tensors().items() if "running" not in name)


def splits(workflow: StandardWorkflow) -> dict[str, int]:
    """Returns the number of samples of each split that has any."""
    lengths = workflow.loader.split_lengths
    return {SPLIT_NAMES[key]: lengths[key] for key in (TRAIN, VALIDATION, TEST) if lengths[key]}


def data(workflow: StandardWorkflow) -> list[str]:
    """Returns what the data are, each fact a short text."""
    loader = workflow.loader
    facts = [f"{name} {count:,}" for name, count in splits(workflow).items()]
    facts.append(f"samples {parts.told(loader.parts) or shape(loader.sample_shape)}")
    if loader.labels_:
        names = ", ".join(loader.label_names)
        facts.append(f"{loader.label_count} classes" + (f" ({names})" if 0 < len(names) <= NAMED else ""))
    elif loader.targets_ is not loader.data_:
        facts.append(f"targets {shape(loader.target_shape)}")
    facts.append(f"minibatches of {loader.minibatch_size}")
    return facts


def shape(sizes: tuple[int, ...]) -> str:
    """Returns a shape as text: `1 x 28 x 28`."""
    return " x ".join(map(str, sizes)) or "1"

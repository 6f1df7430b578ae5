"""Compares the whole states of workflows, byte for byte."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from runner.graph import Bool, Pickleable, Unit, Workflow
from runner.graph.links import Link
from runner.graph.loop import Control
from runner.snapshots.restoring.restore import restore


def state_of(location: str | Path, trusted: Sequence[str] = ()) -> dict[str, bytes]:
    """Returns the state in a snapshot, by path of attribute; the snapshotter's own is left out."""
    return workflow_state(restore(location, trusted=trusted).workflow)


def workflow_state(workflow: Workflow) -> dict[str, bytes]:
    """Returns the state of a workflow, by path of attribute."""
    state = workflow.__getstate__()
    leaves = dict(_leaves("random", state["random_states"]))
    leaves |= _leaves("workflow", {k: v for k, v in state["own"].items() if k not in ("units", "control")})
    for unit, values in zip(state["shells"], state["states"], strict=True):
        if unit.name != "snapshotter":
            leaves |= _leaves(unit.name, values)
    return leaves


def _leaves(path: str, value: Any) -> Iterator[tuple[str, bytes]]:
    if isinstance(value, torch.Tensor):
        yield (
            path,
            f"{value.dtype} {tuple(value.shape)} ".encode()
            + value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes(),
        )
    elif isinstance(value, np.ndarray):
        yield path, f"{value.dtype} {value.shape} ".encode() + value.tobytes()
    elif isinstance(value, np.random.Generator):
        yield from _leaves(path, value.bit_generator.state)
    elif isinstance(value, Unit):
        yield path, value.name.encode()
    elif isinstance(value, Link):
        yield path, f"{value.source.name}.{value.attribute}".encode()
    elif isinstance(value, Bool):
        yield path, repr(value).encode()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}", item)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _leaves(f"{path}.{number}", item)
    elif isinstance(value, torch.nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler):
        yield from _leaves(path, value.state_dict())
    elif isinstance(value, Pickleable):
        yield from _leaves(path, value.__getstate__())
    elif isinstance(value, Control):
        yield path, repr([(name, getattr(value, name)) for name in Control.__slots__]).encode()
    elif type(value).__module__.startswith("runner."):
        yield from _leaves(path, vars(value))
    else:
        yield path, repr(value).encode()


def differences(first: dict[str, bytes], second: dict[str, bytes]) -> list[str]:
    """Returns the paths at which two states differ."""
    return sorted(path for path in first | second if first.get(path) != second.get(path))

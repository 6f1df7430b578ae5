"""Looks at a Dataset of torch, by its class; writes a module with one where there is none."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from importlib import invalidate_caches
from importlib.util import find_spec
from pathlib import Path

from torch.utils.data import Dataset

from runner import targets
from runner.cli.starting.look import Look, Spread, counted
from runner.cli.starting.new_files import write_new
from runner.errors import ConfigError
from runner.nn.core.parts import told
from runner.nn.loading.dataset_items import items
from runner.nn.loading.samples import Samples

MODULE = '''"""Samples for a first run: put your own in their place, and keep `__len__` and `__getitem__`."""

import torch


class {name}(torch.utils.data.Dataset):
    """Points around three centers; the label is the number of the center."""

    def __init__(self, count: int = 600) -> None:
        random = torch.Generator().manual_seed(1)  # so that a run that goes on finds the same samples
        centers = torch.tensor([[0.0, 3.0], [3.0, 0.0], [-3.0, -3.0]])
        self.labels = torch.randint(3, (count,), generator=random)
        self.samples = centers[self.labels] + torch.randn(count, 2, generator=random)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Returns a sample, which is an array or a tensor, and its label: a whole number, or values to be predicted."""
        return self.samples[index], int(self.labels[index])
'''


def dataset_look(module: str, name: str) -> Look:
    """Looks at all items of a Dataset; a module that there is not is written first.

    Raises:
        ConfigError: there is no such class, it is not a map-style Dataset, it needs arguments, or its items do not fit
            together.
    """
    if not _has_module(module, name):
        write_new(Path(f"{module}.py"), MODULE.format(name=name))
        invalidate_caches()
        print(f"{module}.py is written: put your own samples in the place of those that it makes")
    return _look(f"--from={module}:{name}", f"{module}.{name}")


def _notes_of_answers(samples: Samples) -> list[str]:
    answers = samples.targets
    if answers is None or answers.dtype.kind not in "iu" or answers.shape[1:] != (1,):
        return []
    return ["whole numbers within an array of shape (1,) are predicted as numbers: a class is a number alone, of shape ()"]


def _has_module(module: str, name: str) -> bool:
    """Whether there is a module of that name.

    Raises:
        ConfigError: there is none, and another file may be meant.
    """
    try:
        if "." in module or find_spec(module) is not None:
            return True
    except (ImportError, ValueError):
        return True  # what is wrong is told when it is imported
    if close := get_close_matches(module, [path.stem for path in Path().glob("*.py")], 1, 0.8):
        raise ConfigError(f"--from={module}:{name}: there is no module {module!r}; did you mean {close[0]}:{name}?")
    return False


def _look(key: str, target: str) -> Look:
    cls = targets.find(key, target)
    if not isinstance(cls, type) or not issubclass(cls, Dataset) or not hasattr(cls, "__len__"):
        raise ConfigError(f"{key} is not a map-style torch.utils.data.Dataset, which has samples to learn from")
    needed = [
        parameter.name
        for parameter in inspect.signature(cls).parameters.values()
        if parameter.default is parameter.empty and parameter.kind not in targets.VARIADIC
    ]
    if needed:
        raise ConfigError(f"{key} needs the argument {needed[0]!r}: give it a default, to be looked at")
    samples, parts = items(key, cls, {})
    if parts:
        raise ConfigError(
            f"{key} has samples of several parts ({told(parts)}), which only a model of yours can take: docs/models.md"
        )
    whole = samples.data.dtype.kind in "iu" and not (samples.data.dtype.itemsize == 1 and samples.data.ndim > 2)
    loader = {"name": "dataset", "train": {targets.TARGET: target}}
    if whole:
        loader["normalization"] = "standardize"
    notes = _notes_of_answers(samples)
    notes += ["whole numbers are scaled as measurements: tokens need an embedding, such as torch.nn.Embedding"] if whole else []
    if samples.labels is not None:
        classes = int(samples.labels.max()) + 1
        task = f"tells {counted(classes, 'class', 'classes')} apart"
        if samples.labels.min() < 0 or classes < 2:
            raise ConfigError(
                f"{key}: labels are the numbers of classes, 0, 1 and so on; there are {samples.labels.min()} to {classes - 1}"
            )
    else:
        classes = None
        task = "restores each sample from fewer values" if samples.targets is None else "predicts the targets"
    return Look(
        what=f"{counted(len(samples.data), 'item')} of {target}",
        task=task,
        loader=loader,
        samples=len(samples.data),
        shape=samples.data.shape[1:],
        classes=classes,
        targets=None if samples.targets is None else Spread.of(samples.targets),
        notes=notes,
    )

"""Two processes read data together: `python -m tests.read_together FOLDER`, with the variables of torchrun.

Each prints, as JSON by the name of the loader, in what what it has differs from what it reads by itself, how often it has
read, and whether the data are in memory that it shares.
"""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from runner.graph import Workflow
from runner.nn.loading.cifar10_loader import Cifar10Loader
from runner.nn.loading.dataset_loader import DatasetLoader
from runner.nn.loading.image_loader import ImagesLoader
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.mnist_loader import MnistLoader
from runner.nn.loading.samples import TRAIN, Samples
from runner.nn.loading.sklearn_loader import DigitsLoader, WineLoader
from runner.nn.loading.table_loader import TableLoader
from runner.parallel.process_group import Group
from tests.canonical import canonical

HERE = "tests.read_together"
IMAGES = str(Path(__file__).parent / "stored" / "data" / "images")


class Drawn(Dataset[Any]):
    """Items of random numbers.

    Args:
        kind: `parts`, `tokens`, `targets` or `pixels`.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __len__(self) -> int:
        return 30

    def __getitem__(self, index: int) -> Any:
        if self._kind == "parts":
            return {"numbers": torch.rand(3), "tokens": torch.randint(0, 9, (4,))}, index % 3
        if self._kind == "tokens":
            return torch.randint(0, 1000, (6,)), index % 2
        if self._kind == "targets":
            return np.random.rand(5), np.random.rand(2)
        return torch.randint(0, 256, (3, 4, 4), dtype=torch.uint8)


class OwnLoader(FullBatchLoader):
    """Says nothing of how it reads."""

    def load_data(self) -> dict[int, Samples]:
        return {TRAIN: Samples(np.random.rand(20, 2), np.arange(20) % 2)}


class OddLoader(OwnLoader):
    """Says that it is read once, and has what other processes cannot take over."""

    read_once = True

    def load_data(self) -> dict[int, Samples]:
        self.odd = [np.float64(1)]
        return super().load_data()


class OwnSharingLoader(OwnLoader):
    """Has a state of its own, and says that it is read once."""

    read_once = True
    units: dict[str, str]

    def load_data(self) -> dict[int, Samples]:
        self.units = {"width": "mm"}
        return super().load_data()


def loaders(folder: Path) -> dict[str, tuple[type[FullBatchLoader], dict[str, Any]]]:
    table = str(folder / "table.csv")
    drawn = f"{HERE}.Drawn"
    return {
        "digits": (DigitsLoader, {"validation_ratio": 0.2}),
        "wine": (WineLoader, {"minibatch_size": 7}),
        "mnist": (MnistLoader, {"data_dir": str(folder), "train_size": 20}),
        "cifar10": (Cifar10Loader, {"data_dir": str(folder)}),
        "images": (ImagesLoader, {"data_dir": IMAGES, "normalization": "samplewise"}),
        "table": (TableLoader, {"data_file": table, "label": "kind", "categories": ["color"], "validation_file": table}),
        "table of targets": (TableLoader, {"data_file": table, "targets": ["b"], "columns": ["a"]}),
        **{kind: (DatasetLoader, {"train": {"_target_": drawn, "kind": kind}}) for kind in ("targets", "pixels")},
        **{
            kind: (DatasetLoader, {"train": {"_target_": drawn, "kind": kind}, "validation": {"_target_": drawn, "kind": kind}})
            for kind in ("parts", "tokens")
        },
        "own": (OwnLoader, {}),
        "own that shares": (OwnSharingLoader, {}),
    }


def write(folder: Path) -> None:
    """Writes the files that are read."""
    rows = [f"{index / 7},{index % 5},{('red', 'green')[index % 2]},{('ant', 'bee', 'cat')[index % 3]}" for index in range(40)]
    (folder / "table.csv").write_text("\n".join(["a,b,color,kind", *rows, ""]))
    for name, count in (("train", 30), ("t10k", 20)):
        images = np.arange(count * 16, dtype=np.uint8).tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(np.array([0x803, count, 4, 4], ">i4").tobytes() + images)
        labels = (np.arange(count, dtype=np.uint8) % 10).tobytes()
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(np.array([0x801, count], ">i4").tobytes() + labels)
    records = np.random.default_rng(1).integers(0, 256, (12, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    (folder / "data_batch_1.bin").write_bytes(records.tobytes())


def read(cls: type[FullBatchLoader], settings: dict[str, Any], launcher: Any) -> tuple[FullBatchLoader, int]:
    """Returns a loader that has read, and how often it has."""
    workflow, times = Workflow(name="reading"), []
    workflow.launcher_ = launcher
    loader = cls(workflow, seed=3, **settings)
    loader.keeps_integers = True
    loader.load_data = lambda: (times.append(1), cls.load_data(loader))[1]  # type: ignore[method-assign]
    loader.initialize()
    del loader.load_data  # type: ignore[method-assign]
    return loader, len(times)


def found(loader: FullBatchLoader) -> dict[str, Any]:
    """Returns all that a loader has come to, and what of it is the same object."""
    values = {name: value for name, value in vars(loader).items() if name != "workflow"}
    arrays = {name: {key: tensor.numpy() for key, tensor in values[name].items()} for name in ("data_", "labels_", "targets_")}
    return values | arrays | {"own targets": loader.targets_ is not loader.data_}


def compared(name: str, cls: type[FullBatchLoader], settings: dict[str, Any], launcher: Any) -> dict[str, Any]:
    alone, _ = read(cls, settings, None)
    shared, times = read(cls, settings, launcher)
    one, other = found(alone), found(shared)
    different = [key for key in one.keys() | other.keys() if canonical(one.get(key)) != canonical(other.get(key))]
    place = shared.data_[TRAIN].data_ptr()
    lines = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    within = [line[-1] for line in lines if (ends := [int(end, 16) for end in line[0].split("-")])[0] <= place < ends[1]]
    return {"different": different, "times": times, "shared": "/memfd:" in " ".join(within)}


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    group = Group(rank, int(os.environ["WORLD_SIZE"]), rank)
    group.connect("cpu", 30)
    launcher = SimpleNamespace(processes=group)
    print(json.dumps({name: compared(name, *how, launcher) for name, how in loaders(folder).items()}))
    group.part()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

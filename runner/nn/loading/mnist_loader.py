"""MNIST from the package, or another data set of its format from a folder."""

from pathlib import Path
from typing import Any

from runner.datasets import idx, mnist
from runner.graph import Workflow
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples


class MnistLoader(FullBatchLoader):
    """Loads 60,000 images of 28 x 28 for training and 10,000 for validation.

    Args:
        workflow: the workflow.
        data_dir: a folder of IDX files named as MNIST's, such as Fashion-MNIST, to load instead.
        settings: as in `FullBatchLoader`.
    """

    adjustable = frozenset({"data_dir"})
    read_once = True
    of_training_set = FullBatchLoader.of_training_set - {"data_dir"}  # which has both sets

    data_dir: str | None

    def __init__(self, workflow: Workflow, *, data_dir: str | None = None, **settings: Any) -> None:
        super().__init__(workflow, **settings)
        self.data_dir = data_dir

    @property
    def has_validation_set(self) -> bool:
        return self.data_dir is None or idx.find(Path(self.data_dir), "t10k", "images", 3) is not None

    def load_data(self) -> dict[int, Samples]:
        if self.data_dir is None:
            train, validation = mnist.load()
            return {TRAIN: Samples(*train), VALIDATION: Samples(*validation)}
        sets = idx.load_folder(self.data_dir, ("train", "t10k") if self.needs_training_set else ("t10k",))
        return {key: Samples(*sets[name]) for key, name in ((TRAIN, "train"), (VALIDATION, "t10k")) if name in sets}

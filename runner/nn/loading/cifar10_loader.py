"""CIFAR-10 from a folder."""

from typing import Any

from runner.datasets import cifar10
from runner.graph import Workflow
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples


class Cifar10Loader(FullBatchLoader):
    """Loads the images of 3 x 32 x 32 in `data_batch_*.bin` for training and those in `test_batch.bin` for validation.

    Args:
        workflow: the workflow.
        data_dir: the folder with the files, or the one that holds `cifar-10-batches-bin`.
        settings: as in `FullBatchLoader`.
    """

    adjustable = frozenset({"data_dir"})
    read_once = True

    data_dir: str

    def __init__(self, workflow: Workflow, *, data_dir: str, **settings: Any) -> None:
        super().__init__(workflow, **settings)
        self.data_dir = data_dir

    def load_data(self) -> dict[int, Samples]:
        train, test = cifar10.load(self.data_dir)
        return {TRAIN: Samples(*train)} | ({VALIDATION: Samples(*test)} if test else {})

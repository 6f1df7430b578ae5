"""Images in folders, one for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.datasets import image_files
from runner.graph import Workflow
from runner.nn.loading.labels import known_names
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.samples import TRAIN, VALIDATION, Samples


class ImagesLoader(FullBatchLoader):
    """Loads images from folders whose sub-folders are the classes.

    Args:
        workflow: the workflow.
        data_dir, validation_dir: the folders.
        grayscale: whether to load shades of grey.
        image_size: height and width to resize to.
        settings: as in `FullBatchLoader`.
    """

    adjustable = frozenset({"data_dir", "validation_dir"})
    scorable = FullBatchLoader.scorable | {"grayscale", "image_size"}
    read_once = True

    data_dir: str
    validation_dir: str | None
    grayscale: bool
    image_size: tuple[int, int] | None

    def __init__(
        self,
        workflow: Workflow,
        *,
        data_dir: str,
        validation_dir: str | None = None,
        grayscale: bool = False,
        image_size: Sequence[int] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(workflow, **settings)
        self.data_dir = data_dir
        self.validation_dir = validation_dir
        self.grayscale = grayscale
        self.image_size = None if image_size is None else (image_size[0], image_size[1])

    def load_data(self) -> dict[int, Samples]:
        samples = {}
        if self.needs_training_set:
            found = image_files.find("loader.data_dir", self.data_dir)
            self.label_names = known_names(f"loader.data_dir={self.data_dir!r}", self.label_names, found)
            samples[TRAIN] = self._load(found)
        if self.validation_dir is not None:
            found = image_files.find("loader.validation_dir", self.validation_dir)
            image_files.check_classes(f"loader.validation_dir={self.validation_dir!r}", found, self.label_names)
            samples[VALIDATION] = self._load(found)
        return samples

    def _load(self, found: dict[str, list[str]]) -> Samples:
        return Samples(*image_files.load(found, self.label_names, grayscale=self.grayscale, size=self.image_size))

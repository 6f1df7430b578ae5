"""Reads the tensors in a file that torch has written, such as Lightning's checkpoints, and nothing else of it."""

from __future__ import annotations

import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SUFFIXES = (".pt", ".pth", ".ckpt")
HOLDERS = ("state_dict", "model_state_dict", "model")
"""Where files of torch have their tensors, if not at the top."""


def read_tensors_of_torch(file: Path) -> dict[str, Tensor]:
    """Returns the tensors in a file by name.

    torch makes nothing but tensors and containers of it; whatever else the file names is replaced by something empty.

    Raises:
        pickle.UnpicklingError, OSError, ValueError and others: the file cannot be read.
    """
    others = torch.serialization.get_unsafe_globals_in_checkpoint(str(file)) if zipfile.is_zipfile(file) else []
    with torch.serialization.safe_globals([(_Nothing, name) for name in others]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of a file that is no checkpoint: that is told as an error
        return _tensors(torch.load(file, map_location="cpu", weights_only=True))


def _tensors(content: Any) -> dict[str, Tensor]:
    for key in HOLDERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


class _Nothing:
    """The name of any class. What it makes is a container that torch fills with anything, items and attributes."""

    def __new__(cls, *arguments: object, **named: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()

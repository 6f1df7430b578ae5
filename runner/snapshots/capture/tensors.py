"""Pickles torch tensors: one buffer per storage, and functions of `runner.pickled` that recreate the tensors over it.

torch itself nests a second pickle in every tensor. That costs several copies, and loading runs whatever the nested pickle says.
Here a storage that several tensors share stays shared.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from runner import pickled
from runner.storages import OnGpu, bytes_of

if TYPE_CHECKING:
    import torch

SEPARATE = 1 << 16
"""Bytes from which a pickler does not look at a content, but writes it by itself, after an opcode with its size."""


def reduce_tensor(tensor: torch.Tensor, storage: torch.UntypedStorage) -> Any:
    """Returns how to recreate a dense tensor over its storage."""
    import torch

    layout = (tensor.storage_offset(), tuple(tensor.size()), tuple(tensor.stride()))
    flags = (tensor.requires_grad, isinstance(tensor, torch.nn.Parameter))
    return pickled.tensor, (storage, str(tensor.dtype).removeprefix("torch."), *layout, *flags)


def reduce_storage(storage: torch.UntypedStorage) -> Any:
    """Returns how to recreate a storage. Its bytes go into the pickle without an intermediate copy."""
    import torch

    if storage.device.type == "cpu":
        return pickled.storage, (pickle.PickleBuffer(bytes_of(storage)), "cpu")
    there = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    content: Any = OnGpu(there) if there.is_cuda and len(there) >= SEPARATE else there.cpu().numpy()
    return pickled.storage, (pickle.PickleBuffer(content), str(storage.device))


def reduce_generator(generator: torch.Generator) -> Any:
    """Returns how to recreate a generator in its current state."""
    return pickled.generator, (str(generator.device), generator.get_state())

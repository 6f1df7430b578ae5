"""How torch tensors go into a pickle: one buffer for each storage, and functions that make them again.

torch's own way nests a second pickle for every tensor, which costs several copies and, on loading, runs whatever that
second pickle says. These functions take plain data only. A storage that several tensors share stays shared.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def reduce_tensor(tensor: torch.Tensor, storage: torch.UntypedStorage) -> Any:
    """Returns how to make the dense tensor again over its storage."""
    import torch

    layout = (tensor.storage_offset(), tuple(tensor.size()), tuple(tensor.stride()))
    flags = (tensor.requires_grad, isinstance(tensor, torch.nn.Parameter))
    return rebuild_tensor, (storage, str(tensor.dtype).removeprefix("torch."), *layout, *flags)


def reduce_storage(storage: torch.UntypedStorage) -> Any:
    """Returns how to make the storage again; its bytes go into the pickle without an intermediate copy."""
    import torch

    view = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    data: Any = view.cpu().numpy()
    return rebuild_storage, (pickle.PickleBuffer(data), str(storage.device))


def empty_memory(size: int) -> torch.Tensor:
    """Returns uninitialised bytes in memory of torch's own: results of BLAS may depend on alignment."""
    import torch

    return torch.empty(size, dtype=torch.uint8)


def rebuild_storage(data: bytes | bytearray | torch.Tensor, device: str) -> torch.UntypedStorage:
    """Makes a storage of bytes, which are copied, or of `empty_memory` that was filled with them, which is not.

    A device that this machine does not have gives way to the CPU.
    """
    import torch

    if not isinstance(data, torch.Tensor):
        memory = empty_memory(len(data))
        memory.numpy().data[:] = data
        data = memory
    if device.startswith("cuda") and torch.cuda.is_available():
        data = data.to(device)
    return data.untyped_storage()


def rebuild_tensor(
    storage: torch.UntypedStorage,
    dtype: str,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    requires_grad: bool,
    parameter: bool,
) -> torch.Tensor:
    """Makes a tensor over a storage; offset and strides count elements."""
    import torch

    tensor = torch.empty(0, dtype=getattr(torch, dtype), device=storage.device)
    tensor.set_(storage, offset, tuple(size), tuple(stride))
    if parameter:
        return torch.nn.Parameter(tensor, requires_grad)
    return tensor.requires_grad_(requires_grad)


def rebuild_generator(device: str, state: torch.Tensor) -> torch.Generator:
    """Makes a random generator in the given state."""
    import torch

    generator = torch.Generator(device)
    generator.set_state(state)
    return generator

"""How torch's tensors go into a pickle: one buffer for each storage, and functions of `runner.pickled` that make them again.

torch's own way nests a second pickle for every tensor, which costs several copies and, on loading, runs whatever that
second pickle says. A storage that several tensors share stays shared.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from runner import pickled

if TYPE_CHECKING:
    import torch


def reduce_tensor(tensor: torch.Tensor, storage: torch.UntypedStorage) -> Any:
    """Returns how to make the dense tensor again over its storage."""
    import torch

    layout = (tensor.storage_offset(), tuple(tensor.size()), tuple(tensor.stride()))
    flags = (tensor.requires_grad, isinstance(tensor, torch.nn.Parameter))
    return pickled.tensor, (storage, str(tensor.dtype).removeprefix("torch."), *layout, *flags)


def reduce_storage(storage: torch.UntypedStorage) -> Any:
    """Returns how to make the storage again; its bytes go into the pickle without an intermediate copy."""
    import torch

    view = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    data: Any = view.cpu().numpy()
    return pickled.storage, (pickle.PickleBuffer(data), str(storage.device))


def reduce_generator(generator: torch.Generator) -> Any:
    """Returns how to make the generator again in its state."""
    return pickled.generator, (str(generator.device), generator.get_state())

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

_BY_SCHEDULERS = {"step", "_opt_called"}
"""Attributes that schedulers give to an optimizer, by which they know whether to warn."""
SEPARATE = 1 << 16
"""Bytes from which a pickler does not look at a content, but writes it by itself, after an opcode with its size."""


def reduce_tensor(tensor: torch.Tensor, storage: torch.UntypedStorage) -> Any:
    """Returns how to recreate a dense tensor over its storage, with the gradient that it has gathered, if any.

    Raises:
        PicklingError: it has a hook, which would be gone after a restore.
    """
    import torch

    layout = (tensor.storage_offset(), tuple(tensor.size()), tuple(tensor.stride()))
    flags = (tensor.requires_grad, isinstance(tensor, torch.nn.Parameter))
    made = (storage, str(tensor.dtype).removeprefix("torch."), *layout, *flags)
    if not tensor.requires_grad:
        return pickled.tensor, made
    if tensor._backward_hooks or (tensor.is_leaf and tensor._post_accumulate_grad_hooks):
        raise pickle.PicklingError("a tensor has a hook, which no snapshot keeps")
    gathered = tensor.grad if tensor.is_leaf else None
    return pickled.tensor, made if gathered is None else (*made, gathered)


def reduce_optimizer(optimizer: torch.optim.Optimizer) -> Any:
    """Returns how to recreate an optimizer, with what its class has added to it, which torch leaves out.

    Raises:
        PicklingError: it has a hook, which would be gone after a restore.
    """
    import torch

    for name, hooks in vars(optimizer).items():
        if name.endswith("_hooks") and hooks:
            raise pickle.PicklingError("an optimizer has a hook, which no snapshot keeps")
    if type(optimizer).__getstate__ is not torch.optim.Optimizer.__getstate__:
        return NotImplemented
    reduced: Any = optimizer.__reduce_ex__(2)
    make, arguments, state, *others = reduced
    return make, arguments, state | added_to(optimizer), *others


def added_to(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Returns the attributes that an optimizer has besides those of torch's base class."""
    import torch

    of_torch = vars(torch.optim.SGD([torch.empty(0)])).keys() | _BY_SCHEDULERS
    return {name: value for name, value in vars(optimizer).items() if name not in of_torch}


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

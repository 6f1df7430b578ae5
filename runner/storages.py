"""The bytes of torch's storages, on the CPU and on GPUs.

`Tensor.numpy()` would give them, too, but marks the storage as one that cannot be resized: a run whose units resize tensors
would fail once a snapshot was taken, or restored.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_WRITABLE = 0x200
_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.restype = ctypes.py_object
_view.argtypes = (ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int)


def bytes_of(storage: torch.UntypedStorage) -> memoryview:
    """Returns the memory of a storage on the CPU, which has to live as long, and must not be resized meanwhile."""
    view: memoryview = _view(storage.data_ptr(), storage.nbytes(), _WRITABLE)
    return view


class OnGpu(mmap.mmap):
    """Stands for bytes on a GPU, which are copied from there to where they are written.

    Args:
        content: the bytes, at least one.
    """

    content: torch.Tensor

    def __new__(cls, content: torch.Tensor) -> OnGpu:
        # Addresses without memory: nobody reads them.
        stand_in = super().__new__(cls, -1, len(content), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        stand_in.content = content
        return stand_in


def gpu_in_use() -> bool:
    """Returns whether this process has used a GPU."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_initialized()


def pinned_buffer(size: int) -> memoryview:
    """Returns memory that stays where it is, so that a GPU can write to it."""
    import torch

    pinned: Any = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
    return memoryview(pinned)

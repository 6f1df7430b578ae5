"""The bytes of torch's storages.

`Tensor.numpy()` would give them, too, but marks the storage as one that cannot be resized: a run whose units resize tensors
would fail once a snapshot was taken, or restored.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

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

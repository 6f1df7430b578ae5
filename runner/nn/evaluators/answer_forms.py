"""What outputs are compared with, in the form that a loss takes."""

from __future__ import annotations

from torch import Tensor

AS_CLASSES = "classes"
"""Whole numbers."""
AS_VALUES = "values"
"""Numbers of the precision of the outputs, in their shape."""
AS_THEY_ARE = "as they are"


def as_wanted(wanted: Tensor, form: str, outputs: Tensor) -> Tensor:
    """Returns labels or targets of a minibatch in a form."""
    if form == AS_CLASSES:
        return wanted.long()
    return wanted.to(outputs.dtype).view(outputs.shape) if form == AS_VALUES else wanted

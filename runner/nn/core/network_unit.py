"""What all units of a network know: where its tensors live, and of which type its weights are."""

from __future__ import annotations

import torch

from runner.graph import Unit

CPU = torch.device("cpu")


class NetworkUnit(Unit):
    """A unit that computes with tensors, on the device and in the precision of its workflow.

    A workflow of your own may have the attributes `device_` and `dtype`, as `StandardWorkflow` has; without them the unit
    computes on the CPU, in single precision.
    """

    @property
    def device(self) -> torch.device:
        """Where tensors belong."""
        device: torch.device = getattr(self.workflow, "device_", CPU)
        return device

    @property
    def dtype(self) -> torch.dtype:
        """The type of weights and data."""
        dtype: torch.dtype = getattr(self.workflow, "dtype", torch.float32)
        return dtype

"""Steps that leave a parameter as it is: its gradient is kept for the network's optimizer, or nobody wants it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Held:
    """Keeps the gradient of one parameter until the network's optimizer takes it.

    Attributes:
        gradient: the sum of those of the minibatches since then; None if there are none.
    """

    gradient: Tensor | None = None

    def check(self, where: str) -> None:
        """Has nothing to check: the settings are the optimizer's."""

    def update(self, parameter: Tensor, gradient: Tensor, factor: float) -> None:
        """Adds a gradient."""
        self.gradient = gradient if self.gradient is None else self.gradient + gradient

    def take(self) -> Tensor | None:
        """Returns what is kept, and keeps nothing any more."""
        taken, self.gradient = self.gradient, None
        return taken

    def reset(self) -> None:
        """Forgets the gradient."""
        self.gradient = None


@dataclass
class Frozen:
    """The step of a parameter that does not learn."""

    def check(self, where: str) -> None:
        """Has nothing to check."""

    def update(self, parameter: Tensor, gradient: Tensor, factor: float) -> None:
        """Changes nothing."""

    def reset(self) -> None:
        """Has nothing to forget."""

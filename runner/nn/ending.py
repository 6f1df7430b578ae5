"""When a run of epochs ends: after a number of them, or when they get no better."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ending:
    """The limits of a run, and how far it is.

    Args:
        max_epochs: the number of epochs in all. None: no limit.
        fail_iterations: the patience, in epochs without a better one. None: no limit.
        epochs: epochs done.
        best_epoch: the best of them, from 1; 0 if there is none.
    """

    max_epochs: int | None
    fail_iterations: int | None
    epochs: int
    best_epoch: int

    @property
    def reached(self) -> bool:
        """Whether the run is over."""
        return self._all_done or (self.fail_iterations is not None and self.epochs - self.best_epoch >= self.fail_iterations)

    @property
    def _all_done(self) -> bool:
        return self.max_epochs is not None and self.epochs >= self.max_epochs

    @property
    def limit(self) -> tuple[str, int]:
        """The setting that ends the run, or would end it first, and its value."""
        if self.max_epochs is not None and (self.fail_iterations is None or self._all_done):
            return "max_epochs", self.max_epochs
        return "fail_iterations", self.fail_iterations or 0

    @property
    def extension(self) -> tuple[str, int]:
        """The setting of `limit`, with a value by which a complete run goes on for as long again."""
        key, value = self.limit
        done = self.epochs - (0 if key == "max_epochs" else self.best_epoch)
        return key, 2 * max(value, done)  # a limit below what is done was given later

    def __str__(self) -> str:
        epochs = f"epoch {self.max_epochs}" if self.max_epochs is not None else ""
        stuck = f"{self.fail_iterations} epochs without a better one" if self.fail_iterations is not None else ""
        return " or ".join(filter(None, (epochs, stuck))) or "it is stopped"

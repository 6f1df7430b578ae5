"""The processes that share a run, and what they tell one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


class Processes:
    """One process alone, which is all that most runs have.

    Attributes:
        rank: the number of this process, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is process 0, which alone writes anything."""
        return self.rank == 0

    def check_shards(self, shards: int) -> None:
        """Raises a ConfigError if the number of processes does not divide the shards."""
        if shards % self.size:
            known = ", ".join(str(1 << power) for power in range(shards.bit_length()))
            raise ConfigError(
                f"parallel.shards={shards} cannot be shared by {self.size} processes: start {known} of them"
                " (or a fresh run with other shards)"
            )

    def gather(self, mine: Tensor) -> Tensor:
        """Returns the tensors of all processes, of shape (size, *shape), in the order of their ranks."""
        return mine.unsqueeze(0)

    def total(self, mine: Tensor) -> Tensor:
        """Returns the sum of the rows of all processes, in the order of a tree; the length is a multiple of their number."""
        return mine


ALONE = Processes()

"""The processes that share a run, and what they tell one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


class Processes:
    """One process alone, which is all that most runs have. `Group` is several.

    Attributes:
        rank: the number of this process, from 0.
        local_rank: its number on its machine.
        size: how many there are.
    """

    rank: int = 0
    local_rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is process 0, which alone writes snapshots, metrics, logs and pictures."""
        return self.rank == 0

    def check_shards(self, shards: int | None) -> None:
        """Raises a ConfigError if the processes cannot share a run with so many shards; None is without shards."""
        if shards is None and self.size > 1:
            raise ConfigError(
                f"{self.size} processes were started, and a run without shards is computed by one: parallel.shards=N begins one"
                " that several compute (docs/parallel.md); start several runs with -m or a job array"
            )
        if shards is not None and shards % self.size:
            fitting = ", ".join(str(1 << power) for power in range(shards.bit_length()))
            raise ConfigError(
                f"parallel.shards={shards} cannot be shared by {self.size} processes: start one of {fitting} processes"
            )

    def connect(self, device: str, timeout: float) -> None:
        """Connects the processes for `gather` and `total`.

        Args:
            device: of the tensors that `total` gets.
            timeout: seconds after which a process that does not answer is given up.
        """

    def share(self, name: str, make: Callable[[], str]) -> str:
        """Returns a text that process 0 makes for all, once for each name.

        Raises:
            ProcessLostError: process 0 has failed.
        """
        return make()

    def neighbors(self) -> list[int]:
        """Returns the ranks of the processes on this machine that can open one another's memory, in ascending order.

        Raises:
            ProcessLostError: a process has ended, or does not answer.
        """
        return [self.rank]

    def made_by(self, rank: int, make: Callable[[], str]) -> str:
        """Returns a text that one process makes, however long that takes it; the others wait as long as it lives.

        All processes call this equally often, each with a process of its choice.

        Args:
            rank: of the process that makes the text.
            make: called in that process alone.

        Raises:
            ProcessLostError: that process has failed, has ended, or does not answer.
        """
        return make()

    def gather(self, mine: Tensor) -> Tensor:
        """Returns the tensors of all processes, on the CPU, of shape (size, *shape), in the order of their ranks.

        Raises:
            ProcessLostError: a process has ended, or does not answer.
        """
        return mine.unsqueeze(0)

    def total(self, mine: Tensor) -> Callable[[], None]:
        """Begins to sum the rows of all processes, in the order of a tree; returns what waits for the sum.

        Several sums may be under way; all processes begin them, and wait for them, in one order.

        Args:
            mine: numbers of shape (length,); the length is a multiple of `size`. The sum takes their place.

        Raises:
            ProcessLostError: a process has ended, or does not answer.
        """
        return lambda: None

    def fail(self, why: str, exit_code: int) -> bool:
        """Tells the others why this process ends, and how; returns whether that is news to the user.

        What all processes fail with, such as a wrong key, process 0 alone says.
        """
        return True

    def part(self) -> None:
        """Waits until all have done everything: whoever started them may kill the others when the first one ends."""


ALONE = Processes()

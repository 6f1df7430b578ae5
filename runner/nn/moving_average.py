"""The exponential moving average of the parameters, with which the network is scored and used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from runner.errors import ConfigError, SnapshotMismatchError
from runner.graph import Bool, Linked, Unit, Workflow
from runner.nn.layers.weighted import WeightedGradient
from runner.nn.network_optimizer import NetworkOptimizer


class MovingAverage(Unit):
    """Runs after each update of the parameters: average = decay average + (1 - decay) parameter, as `torch.optim.swa_utils`.

    The first update sets the average. The network has either its parameters or the averages, and this unit has the others.

    Attributes:
        others: what the network has not got, in the order of its parameters; empty before the first update.
        in_place: whether the network has the averages.

    Args:
        gradients: the units whose parameters are averaged, from the last layer to the first.
        optimizer: the network's, if it has one: minibatches without an update are none of the average.
        decay: above 0 and below 1.

    Raises:
        ConfigError: the decay is not one.
    """

    view_group = "trainer"
    adjustable = frozenset({"decay"})

    gradients: list[WeightedGradient]
    optimizer: NetworkOptimizer | None
    decay: float
    others: list[Tensor]
    in_place: bool

    def __init__(
        self, workflow: Workflow, gradients: Sequence[WeightedGradient], optimizer: NetworkOptimizer | None, *, decay: float
    ) -> None:
        super().__init__(workflow, "ema")
        self.gradients = list(gradients)
        self.optimizer = optimizer
        self.others = []
        self.in_place = False
        self.reconfigure(decay=decay)

    def reconfigure(self, **changes: object) -> None:
        decay = changes.get("decay")
        if decay is None:
            raise ConfigError("ema=null takes away the averages of a run that has them: it goes on with them, so leave it out")
        if not isinstance(decay, float | int) or isinstance(decay, bool) or not 0 < decay < 1:
            raise ConfigError(f"ema={decay!r} must be a number above 0 and below 1")
        super().reconfigure(decay=float(decay))

    def initialize(self) -> None:
        self.average_ = get_ema_multi_avg_fn(self.decay)  # type: ignore[no-untyped-call]
        found = {id(value): value for unit in reversed(self.gradients) for value in unit.parameters().values()}
        self.parameters_ = [value.detach() for value in found.values()]
        shapes = [(value.shape, value.dtype) for value in self.parameters_]
        if self.others and [(value.shape, value.dtype) for value in self.others] != shapes:
            raise SnapshotMismatchError("the averages in the snapshot are not those of the network's parameters")
        self.others = [value.to(mine.device) for value, mine in zip(self.others, self.parameters_, strict=False)]

    def run(self) -> None:
        if self.optimizer is not None and not self.optimizer.stepped:
            return
        if self.others:
            self.average_(self.others, self.parameters_, 0)
        else:
            self.others = [value.clone() for value in self.parameters_]

    def put(self, averages: bool) -> None:
        """Gives the network the averages, or its parameters back."""
        if self.in_place == averages or not self.others:
            return
        for mine, other in zip(self.parameters_, self.others, strict=True):
            kept = mine.clone()
            mine.copy_(other)
            other.copy_(kept)
        self.in_place = averages

    @contextmanager
    def averages(self) -> Iterator[None]:
        """Within it the network has the averages."""
        before = self.in_place
        self.put(True)
        try:
            yield
        finally:
            self.put(before)


class AverageSwitch(Unit):
    """Runs before the first layer: evaluation minibatches see the averages, those of training the parameters.

    Linked attributes:
        evaluating: true when the minibatch is not for training.

    Args:
        average: the average.
    """

    evaluating: Linked[Bool]
    average: MovingAverage

    def __init__(self, workflow: Workflow, average: MovingAverage) -> None:
        super().__init__(workflow, "ema_switch")
        self.average = average
        self.demand("evaluating")

    def run(self) -> None:
        self.average.put(bool(self.evaluating))

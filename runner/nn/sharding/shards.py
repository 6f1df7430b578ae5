"""The unit that computes a minibatch shard by shard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from runner.checks import known
from runner.config.sharing import check_shards
from runner.errors import ConfigError
from runner.graph import Bool, Linked, Workflow
from runner.nn.core.network_unit import NetworkUnit
from runner.nn.evaluators.evaluator import Evaluator, Found
from runner.nn.evaluators.loss import LossEvaluator
from runner.nn.layers.base import Forward, Gradient
from runner.nn.layers.module import Module
from runner.nn.loading.loader import FullBatchLoader
from runner.nn.loading.minibatches import Minibatch
from runner.nn.sharding.exchange import Exchange
from runner.nn.sharding.findings import Findings, outputs_of_all
from runner.nn.sharding.rows import rows_of
from runner.parallel.processes import ALONE, Processes

SEEDS = 2**62
"""Seeds of shards are drawn below this, and the number of the shard is added."""


class Shards(NetworkUnit):
    """Cuts each minibatch into shards, and runs the layers, the evaluator and the gradient units for each of them.

    A process runs its part of the shards. What comes of a shard depends on the shard alone, and what is summed over shards is
    summed in one order. So the bits of a run do not depend on how many processes there are.

    The units stay where they are in the graph, and are skipped there.

    Linked attributes:
        minibatch: which minibatch this is.
        evaluating: true when the minibatch is not for training.

    Attributes:
        count: how many shards a minibatch has, a power of two.
        shows_outputs: whether another unit wants to see the outputs for the whole minibatch.
        processes_: those that share the work.

    Attributes for others:
        output_: the outputs for the whole minibatch, if they are shown; the loader serves the whole of it then.

    Raises:
        ConfigError: at `initialize()`, the number of processes does not divide the shards, or a unit cannot be run by shard.
    """

    minibatch: Linked[Minibatch]
    evaluating: Linked[Bool]
    count: int
    shows_outputs: bool = False
    output_: Tensor
    loader: FullBatchLoader
    forwards: list[Forward]
    evaluator: Evaluator
    gradients: list[Gradient]
    exchange: Exchange

    def __init__(
        self,
        workflow: Workflow,
        count: int,
        *,
        loader: FullBatchLoader,
        forwards: Sequence[Forward],
        evaluator: Evaluator,
        gradients: Sequence[Gradient],
        exchange: Exchange,
    ) -> None:
        super().__init__(workflow, "shards")
        self.count = count
        self.loader = loader
        self.forwards, self.evaluator, self.gradients = list(forwards), evaluator, list(gradients)
        self.exchange = exchange
        for unit in (*self.forwards, self.evaluator, *self.gradients):
            unit.gate_skip = Bool(True)
        self.demand("minibatch", "evaluating")

    def initialize(self) -> None:
        launcher = None if self.workflow is None else self.workflow.launcher
        self.processes_: Processes = ALONE if launcher is None else launcher.processes
        check_shards(self.count)
        self.processes_.check_shards(self.count)
        self._check_units()
        if not self.evaluator.by_shard:
            raise ConfigError(f"parallel.shards: the loss of {self.evaluator!r} cannot be measured in shards")
        share = self.count // self.processes_.size
        self.mine_ = range(self.processes_.rank * share, (self.processes_.rank + 1) * share)
        self.loader.serves_shards_ = True
        self.seeds_ = any(isinstance(unit, Module | LossEvaluator) for unit in (*self.forwards, self.evaluator))

    def _check_units(self) -> None:
        """Raises a ConfigError for a unit of the user's own between the layers, which would run once for all shards."""
        assert self.workflow is not None
        own = {*self.forwards, self.evaluator, *self.gradients}
        order = self.workflow.units_in_dependency_order
        sides = (self, self.evaluator), (self.gradients[0], self.exchange)
        within = [unit for first, last in sides for unit in order[order.index(first) + 1 : order.index(last)]]
        inputs = {link.source for unit in self.forwards if (link := unit.links().get("input_"))}
        between = {unit for unit in (*within, *inputs) if unit not in {*own, self.loader}}
        if between:
            raise ConfigError(
                f"parallel.shards: {known(unit.name for unit in between)} would run once instead of for each shard: take it out"
                " from between the layers"
            )

    def run(self) -> None:
        step, training = self.minibatch, not self.evaluating
        findings = Findings(step.samples, self.count)
        if training:
            for unit in self.forwards:
                unit.draw(step.samples)
        self.outputs_: list[Tensor | None] = []
        self.exchange.begin_minibatch(min(step.samples, self.count))
        with self._seeded(training) as seed:
            for shard in self.mine_:
                seed(shard)
                rows = rows_of(shard, step.samples, self.count)
                findings.add(self._run_shard(step, rows, last=shard == self.mine_[-1]))
        self.exchange.put_back()
        launcher = None if self.workflow is None else self.workflow.launcher
        found, wishes = findings.of_all(self.processes_, (0, 0) if launcher is None else launcher.wishes)
        if launcher is not None:
            launcher.agree(wishes)
        self.evaluator.add(found.on(self.device) if training else found.on(self.device)._replace(watched=None))
        if self.shows_outputs:
            self._show(step)

    def _show(self, step: Minibatch) -> None:
        """Puts the outputs of all shards together, and has the whole minibatch served."""
        width = math.prod(self.forwards[-1].output_shape)
        self.output_ = outputs_of_all(self.processes_, self.outputs_, step.samples, width, self.dtype).to(self.device)
        self.loader.serve(step)

    def _run_shard(self, step: Minibatch, rows: slice, *, last: bool) -> Found | None:
        """Computes one shard, and returns what the evaluator finds; None if it has no samples."""
        training = not self.evaluating
        if rows.start == rows.stop:
            if training:
                self.exchange.add_empty_shard(last=last)
            self.outputs_.append(None)
            return None
        found: list[Found] = []
        self.loader.serve(step, rows)
        self.exchange.put_back()
        if training:
            self.exchange.begin_shard()
        for unit in self.forwards:
            unit.rows_ = rows
            unit.run()
        self.outputs_.append(self.forwards[-1].output_ if self.shows_outputs else None)
        self.evaluator.collect_ = found.append
        self.evaluator.run()
        if training:
            for gradient in self.gradients:
                gradient.run()
                if last:
                    self.exchange.send(gradient)
            self.exchange.end_shard(last=last)
        return found[0]

    @contextmanager
    def _seeded(self, training: bool) -> Iterator[Callable[[int], object]]:
        """Yields what seeds torch's global generator, from which modules draw, for a shard of a minibatch."""
        if not training or not self.seeds_:
            yield int
            return
        seed = int(torch.randint(SEEDS, (1,)))
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            yield lambda shard: torch.manual_seed(seed + shard)

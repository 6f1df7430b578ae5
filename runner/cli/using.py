"""`mode=predict`: a snapshot gives predictions of new data, of which nothing but their form has to be known."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from omegaconf import DictConfig

from runner import signals
from runner.checks import within
from runner.cli import console, run_folder, source
from runner.cli.request import Request, keys_of
from runner.cores import MOST_THREADS
from runner.errors import ConfigError
from runner.launcher import Launcher
from runner.nn import StandardWorkflow
from runner.nn.inference.model import Network
from runner.snapshots.restoring.restore import Restored
from runner.snapshots.stores.file_system import read_mode
from runner.use import sources, writers
from runner.use.predicting import Tally, at_their_places, predictions

log = logging.getLogger(__name__)

MOST_TOLD = 20
"""Samples that could not be read of which each has a line."""
HEADER = "loader.header"
"""The key of a run that says something of new data, too."""


def predict(restored: Restored, node: DictConfig, request: Request) -> int:
    """Writes predictions of `data` into `output`; returns the exit code, 1 if some of the data could not be read.

    Raises:
        ConfigError: a key that has nothing to do with it was typed, or the data are not what the network takes.
        RunError: the output cannot be written.
    """
    began = time.monotonic()
    writers.check_output(node.output)
    if node.output != sources.STANDARD and _is_same(node.data, node.output):
        raise ConfigError(f"output={node.output!r} is the file that data names")
    if (key := _data_key(restored, node.output)) is not None:
        raise ConfigError(f"output={node.output!r} is the file that {key} of the run names: predictions would replace it")
    workflow, model = network_of(restored, node, request)
    tally = Tally(told=Teller())
    with (
        stoppable() as stopping,
        suppress(BrokenPipeError),
        sources.opened(node.data, workflow.loader) as source,
        writers.writer(node.output, model.signature, source.named) as writer,
        progress(tally),
    ):
        for block, outputs in predictions(model, source, workflow.loader.minibatch_size, tally):
            writer.write(writers.Rows(model.signature, at_their_places(block, outputs), block.names))
            stopping.check()
    took = time.monotonic() - began
    where = "standard output" if node.output == sources.STANDARD else node.output
    log.info("%d predictions by %s in %s (%.1f s)", tally.made, restored.location, where, took)
    return told_failures(tally)


def _is_same(one: str, other: str) -> bool:
    """Whether two paths lead to the same file, by whatever names."""
    return all(map(os.path.exists, (one, other))) and os.path.samefile(one, other)


def _data_key(restored: Restored, output: str) -> str | None:
    """Returns the key of the run's own data that names the file for the output; None if none does."""
    loader = restored.header.config.get("loader")
    files = loader if isinstance(loader, dict) else {}
    named = {f"loader.{key}": str(files.get(key) or "") for key in ("data_file", "validation_file")}
    return next((key for key, file in named.items() if output != sources.STANDARD and _is_same(file, output)), None)


def network_of(restored: Restored, node: DictConfig, request: Request) -> tuple[StandardWorkflow, Network]:
    """Returns the restored workflow and its network, on the device that was asked for.

    Raises:
        ConfigError: it has no network, or a key was typed that cannot change.
    """
    workflow = restored.workflow
    if not isinstance(workflow, StandardWorkflow):
        raise ConfigError(f"mode={node.mode.value}: {workflow!r} is no network, which alone can be given data")
    run_folder.permit(request.output_dir, read_mode(node.snapshotter.mode))
    typed = request.scoring_overrides
    if set(keys_of(typed)) - {HEADER}:
        before = source.snapshot_config(restored, node, request)
        for key in source.differing(before, source.overridden(before, typed, node)):
            if key != HEADER:
                raise ConfigError(
                    f"{key} cannot change with mode={node.mode.value} and data=..., which takes the snapshot as it is"
                )
    if HEADER in request.typed_keys:
        workflow.loader.score_with(header=node.loader.header)
    launcher = Launcher(device=node.device)
    launcher.attach(workflow)
    model = restored.model()
    within("threads", node.threads, 1, MOST_THREADS)
    torch.set_num_threads(workflow.choose_threads(node.threads))
    return workflow, model.to(launcher.device)


def told_failures(tally: Tally) -> int:
    """Says how many samples could not be read, or have no finite prediction; returns the exit code."""
    count = tally.made + tally.failed
    if tally.failed:
        log.error("%d could not be read of %d", tally.failed, count)
    if tally.not_finite:
        log.error("%d without a finite prediction of %d", tally.not_finite, count)
    return 1 if tally.failed or tally.not_finite else 0


class Teller:
    """Warns of samples that could not be read, up to a number of them."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, text: str) -> None:
        self._count += 1
        if self._count <= MOST_TOLD:
            log.warning("%s", text)
        elif self._count == MOST_TOLD + 1:
            log.warning("Others have no line of their own")


class Stopping:
    """Notes a signal; between two blocks the process ends."""

    def __init__(self) -> None:
        self._number: signal.Signals | None = None

    def on_signal(self, number: signal.Signals) -> None:
        """Notes it."""
        self._number = number

    def announce(self, number: signal.Signals) -> None:
        """Says so."""
        print(f"veles-run: {number.name}: stopping; nothing is kept", file=sys.stderr, flush=True)

    def check(self) -> None:
        """Ends the process if a signal has come."""
        if self._number is not None:
            raise SystemExit(signals.exit_code(self._number))


@contextmanager
def stoppable() -> Iterator[Stopping]:
    """Within it a signal ends the process between two blocks."""
    stopping = Stopping()
    with signals.caught(stopping):
        try:
            yield stopping
        except SystemExit:
            signals.settle()
            raise


@contextmanager
def progress(tally: Tally) -> Iterator[None]:
    """Shows how far it has come while the block runs, if standard error is a terminal."""
    if console.is_quiet() or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.live import Live
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    def shown() -> Table:
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(1.0, tally.done, width=40), f"{100 * tally.done:.0f} %", f"{tally.made:,} samples")
        return line

    with Live(console=Console(stderr=True), get_renderable=shown, transient=True, refresh_per_second=4):
        yield

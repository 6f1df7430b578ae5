"""The usual sweep: a job for each combination of the values that are typed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn

from runner.cli import sweep_end
from runner.cli.sweep_running import Running, check
from runner.cli.sweeping import typed
from runner.cli.sweeping.jobs import Folders, Job, Plan
from runner.errors import ConfigError
from runner.flat import is_reference


def sweep(running: Running, arguments: Sequence[str], at_once: int | None) -> Sequence[Sequence[JobReturn]]:
    """Runs the jobs that are not done; returns what the launcher tells of them, batch by batch.

    Args:
        running: the sweep.
        arguments: what is typed for the jobs.
        at_once: the most jobs that the launcher is given together. Default: all.

    Raises:
        RunnerError, HydraException: a job has failed, or an argument is wrong.
    """
    parser = OverridesParser.create(config_loader=running.context.config_loader)
    overrides = parser.parse_overrides(typed.settled(arguments))
    _check_values(overrides)
    combinations = [list(texts) for texts in product(*map(_texts, overrides))]
    with running.begun(arguments):
        plan = _plan(running, arguments, combinations)
        sweep_end.plan(len(combinations))
        running.tell(plan, len(combinations))
        returned = []
        for begin in range(0, len(plan.jobs), at_once or len(plan.jobs) or 1):
            returned.append(running.run(plan.jobs[begin : begin + at_once] if at_once else plan.jobs))
            check(returned[-1], ())
        check((), plan.failed)
    return returned


def _check_values(overrides: Sequence[Override]) -> None:
    for override in overrides:
        typed = str(override.input_line).lstrip("+")
        if override.is_interval_sweep():
            raise ConfigError(
                f"{typed}: an interval has no end of values: choice(...) or range(...) has, and"
                " hydra/sweeper=optuna searches in intervals"
            )
        if override.is_sweep_override() and not any(True for _ in override.sweep_iterator()):
            raise ConfigError(f"{typed} has no values, so there is no job")


def _texts(override: Override) -> list[str]:
    """Returns what the jobs have of an override: as it was typed, or a text for each of its values."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    values = zip(override.sweep_iterator(), override.sweep_string_iterator(), strict=True)
    # Hydra escapes references, which would be none to those who look for them.
    texts = (str(value) if isinstance(value, str) and is_reference(value) else text for value, text in values)
    return [f"{override.get_key_element()}={text}" for text in texts]


def _plan(running: Running, arguments: Sequence[str], combinations: Sequence[Sequence[str]]) -> Plan:
    if not running.goes_on:
        return Plan([Job(str(number), texts) for number, texts in enumerate(combinations)])
    folders = Folders(running.folder, typed.swept_values(arguments))
    return folders.plan(combinations, running.config.sweep.retry)

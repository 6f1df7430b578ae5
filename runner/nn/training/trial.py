"""Steps that are tried before a run begins: some settings of optimizers and schedulers are looked at by a step alone."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from runner import places
from runner.errors import ConfigError
from runner.graph import random_state


def try_out(where: str, name: str, settings: Mapping[str, Any], step: Callable[[], object]) -> None:
    """Calls a function that takes a step; the global random generators stay as they are.

    Args:
        where: the key of the settings, for messages.
        name: the class whose step it is.
        settings: the arguments of the class.
        step: takes the step, of nothing that the run uses.

    Raises:
        ConfigError: it fails in any way.
    """
    states = random_state.get_states()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the run's own steps warn of is shown then
            step()
    except Exception as error:  # the user's own class may fail in any way
        told = places.told(error).removesuffix(".")
        given = ", ".join(typed(where, settings))
        advice = "change one of these settings, or the class" if given else "take another class"
        raise ConfigError(f"{where}: {name} fails in its first steps{given and f' with {given}'}: {told}; {advice}") from error
    finally:
        random_state.set_states(states)


def typed(where: str, value: Any) -> Iterator[str]:
    """Yields each setting as it can be typed."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from typed(f"{where}.{key}", item)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from typed(f"{where}[{number}]", item)
    else:
        yield f"{where}={value!r}"

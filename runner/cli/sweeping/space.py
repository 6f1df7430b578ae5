"""What a search varies, as Optuna's distributions, of what is typed in Hydra's grammar."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from runner.cli.sweeping.typed import settled
from runner.errors import ConfigError

LOG = "log"


@dataclass(frozen=True)
class Space:
    """What is typed for a search.

    Attributes:
        typed: the overrides that all jobs have in common, and the keys of what is varied, in the order in which they are.
        distributions: what is varied, by key as it is typed, with its `+`.
        combinations: the values that a grid has of each key; None for one that has no end.
    """

    typed: list[str] = field(default_factory=list)
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    combinations: dict[str, Sequence[Any] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: Sequence[str], parser: OverridesParser) -> Space:
        """Reads what is typed.

        Raises:
            ConfigError: a range is wrong, or nothing is varied.
        """
        space = cls()
        varied = dict[str, Override]()
        for override in parser.parse_overrides(settled(arguments)):
            key = override.get_key_element()
            if not override.is_sweep_override():
                space.typed.append(str(override.input_line))
                continue
            if key in varied:
                raise ConfigError(f"{key.lstrip('+')} is varied twice: type all its values once")
            varied[key] = override
            space.typed.append(key)
        # By key: the order in which they are typed must not change what is drawn.
        for key, override in sorted(varied.items(), key=lambda item: item[1].key_or_group):
            try:
                space.distributions[key], space.combinations[key] = _distribution(override)
            except ValueError as error:
                raise ConfigError(f"{str(override.input_line).lstrip('+')}: {error}") from error
        if not space.distributions:
            raise ConfigError("a search needs something to vary: KEY=interval(0.1,1), KEY=range(1,9) or KEY=choice(a,b)")
        return space

    def grid(self) -> list[dict[str, Any]]:
        """Returns all combinations of values, in their order.

        Raises:
            ConfigError: a key has no end of values.
        """
        endless = [key for key, values in self.combinations.items() if values is None]
        if endless:
            raise ConfigError(f"{endless[0].lstrip('+')} is an interval, of which a grid has no end: choice(...) or range(...)")
        return [dict(zip(self.combinations, values, strict=True)) for values in product(*self.combinations.values())]  # type: ignore[arg-type]

    def overrides(self, values: Mapping[str, Any]) -> list[str]:
        """Returns the overrides of a job."""
        return [f"{text}={values[text]}" if text in self.distributions else text for text in self.typed]


def _ends(interval: IntervalSweep, logarithmic: bool) -> tuple[float, float]:
    """Returns the ends of an interval; raises a ValueError if it has nothing in it, or Optuna cannot draw from it."""
    start, end = interval.start, interval.end
    if start is None or end is None or not (math.isfinite(start) and math.isfinite(end)):
        raise ValueError("an interval begins and ends with a finite number: interval(0.1,1)")
    if start > end:
        raise ValueError(f"it begins with {start:g} and ends with {end:g}: the smaller number comes first")
    if logarithmic and start <= 0:
        raise ValueError(f"on a logarithmic scale it must begin above 0, not with {start:g}")
    return start, end


def _distribution(override: Override) -> tuple[BaseDistribution, Sequence[Any] | None]:
    """Returns the distribution of a key, and its values if they can be counted."""
    value: Any = override.value()
    unknown = set(getattr(value, "tags", ())) - {LOG}
    if unknown:
        raise ValueError(f"the tag {sorted(unknown)[0]!r} is not known; known: {LOG}")
    logarithmic = LOG in getattr(value, "tags", ())
    if isinstance(value, IntervalSweep):
        start, end = _ends(value, logarithmic)
        if isinstance(start, int) and isinstance(end, int):
            return IntDistribution(start, end, log=logarithmic), None
        return FloatDistribution(start, end, log=logarithmic), None
    if isinstance(value, RangeSweep) and not value.shuffle:
        numbers = sorted(value.range())
        if len(numbers) > 1 and isinstance(numbers[0], int):
            return IntDistribution(numbers[0], numbers[-1], step=numbers[1] - numbers[0]), numbers
    # As they are typed, so that a job gets them unchanged.
    texts = list(override.sweep_string_iterator())
    return CategoricalDistribution(texts), texts

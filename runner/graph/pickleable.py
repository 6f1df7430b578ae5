"""What of an object goes into a snapshot, and what is made again."""

import types
from typing import Any

from runner.errors import StateError


class Pickleable:
    """An object whose attributes are pickled, but for those whose name ends in `_`.

    `init_unpickled()` makes the latter: it runs at construction, before the rest of the subclass's `__init__`, and after
    every restore. `__init__` itself is not called on restore.
    """

    def __init__(self) -> None:
        self.init_unpickled()

    def init_unpickled(self) -> None:
        """Makes the attributes whose names end in `_`. Overrides call `super().init_unpickled()` first."""

    def __getstate__(self) -> dict[str, Any]:
        """Returns the attributes that are pickled.

        Raises:
            StateError: an attribute is a function that a pickle cannot name (a lambda, a nested function).
        """
        state = {name: value for name, value in vars(self).items() if not name.endswith("_")}
        for name, value in state.items():
            if isinstance(value, types.FunctionType) and "<" in value.__qualname__:
                raise StateError(
                    f"{self!r}.{name} is {value.__qualname__!r}, which cannot be pickled: make it a function of a module or a"
                    f" method, or name the attribute '{name}_' and set it in init_unpickled()"
                )
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.init_unpickled()

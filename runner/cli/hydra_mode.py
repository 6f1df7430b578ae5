"""Whether a command is a run or a sweep, without composing its configuration once more to find out.

Hydra composes everything, looks for `hydra.mode`, and composes everything again, which is a tenth of a second. Only what is
typed or a conf file sets the mode: so it is taken for unset until a conf file is read that has it. Then Hydra begins again, in
its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from hydra._internal.hydra import Hydra
from hydra.types import RunMode

_TYPED = ("hydra.mode=", "hydra.searchpath=", "hydra=")
"""How an argument begins that may set the mode: by itself, or in a file that is read in another way than ours."""


class _ModeSetError(Exception):
    """A conf file sets the mode."""


class _Mode:
    """What is known.

    Attributes:
        own: how Hydra finds the mode.
        is_set: whether a conf file sets it.
        is_assumed: whether the configuration is being composed as if none did.
    """

    own: ClassVar[Callable[[Hydra, str | None, list[str]], Any]] = Hydra.get_mode
    is_set: ClassVar[bool] = False
    is_assumed: ClassVar[bool] = False


def _get_mode(hydra: Hydra, config_name: str | None, overrides: list[str]) -> Any:
    if _Mode.is_set or any(text.lstrip("+~").startswith(_TYPED) for text in overrides):
        return _Mode.own(hydra, config_name, overrides)
    _Mode.is_assumed = True
    return None


def register() -> None:
    """Has Hydra find the mode in this way."""
    Hydra.get_mode = _get_mode  # type: ignore[method-assign,assignment]


def run(app: Callable[[], None]) -> None:
    """Runs the application, from its beginning again if a conf file sets the mode."""
    try:
        with suppress(_ModeSetError):
            app()
            return
        _Mode.is_set, _Mode.is_assumed = True, False
        app()
    finally:
        _Mode.is_assumed = False


def composed() -> None:
    """Notes that the configuration has been composed: what jobs of a sweep read is theirs."""
    _Mode.is_assumed = False


def look(content: Any, package: str) -> None:
    """Looks for the mode in a conf file that is read for the package of that name."""
    if not _Mode.is_assumed or not isinstance(content, Mapping):
        return
    hydra = content if package.startswith("hydra") else content.get("hydra")
    if (isinstance(hydra, Mapping) and "mode" in hydra) or str(content.get("mode")) in RunMode.__members__:
        raise _ModeSetError

"""How the process ends: at once, since to take apart what torch has built takes a tenth of a short run.

Before, all is done that counts: threads have ended, what is registered with `atexit` has been called, and the output is
flushed. Only objects are not deleted one by one. Your own code may rely on that, such as on a file that it never closes; so the
process ends as usual if it has imported anything that not every run imports.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar


class _End:
    """What is known of the end.

    Attributes:
        imported: the packages that every run imports.
        exit_code: that of the process; None if it ends as usual.
    """

    imported: ClassVar[set[str]] = set()
    exit_code: int | None = None


def prepare() -> None:
    """Has the process end at once after all that will be registered with `atexit`. It is called before anything else is."""
    _End.imported |= _packages(sys.modules)
    if atexit._ncallbacks() == 0:
        atexit.register(_leave)


@contextmanager
def of_every_run() -> Iterator[None]:
    """Notes that what is imported in the block is what every run imports, whatever its configuration names."""
    before = set(sys.modules)
    yield
    _End.imported |= _packages(sys.modules.keys() - before)


def end_with(exit_code: object) -> None:
    """Notes the code of `sys.exit` with which the process is about to end, if it is to end at once."""
    code = 0 if exit_code is None else exit_code
    if isinstance(code, int) and _packages(sys.modules) <= _End.imported:
        _End.exit_code = code


def _packages(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in list(modules)} - sys.stdlib_module_names


def _leave() -> None:
    if _End.exit_code is not None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # nobody reads any more
                stream.flush()
        os._exit(_End.exit_code)

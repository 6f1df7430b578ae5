"""Imports modules from the code that is kept with a snapshot, instead of today's files.

Only for snapshots that are signed, or trusted in full: the header, which the signature covers, has the digest of this code.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType

from runner.snapshots.kept_code import ORIGIN, KeptCode

log = logging.getLogger(__name__)


def install(code: KeptCode) -> None:
    """Has the modules that were kept imported from there, from now on; those that were imported before are forgotten.

    The script that runs is not among them: it runs already.
    """
    uninstall()
    finder = _Finder({name: (file, code.files[file]) for name, file in code.modules.items() if name != "__main__"})
    finder.forget()
    sys.meta_path.insert(0, finder)
    log.warning("restore.code=snapshot: running the code that is kept with the snapshot: %s", ", ".join(sorted(code.files)))


def uninstall() -> None:
    """Has all modules imported from today's files again."""
    for finder in [one for one in sys.meta_path if isinstance(one, _Finder)]:
        sys.meta_path.remove(finder)
        finder.forget()


@contextmanager
def apart() -> Iterator[None]:
    """Keeps what is installed in the block from what comes after it: the next job of a sweep runs today's code."""
    try:
        yield
    finally:
        uninstall()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules that were kept: the file and the text of each. Others of the same packages are today's."""

    def __init__(self, modules: Mapping[str, tuple[str, str]]) -> None:
        self._modules = modules

    def forget(self) -> None:
        """Has the modules imported anew."""
        for name in self._modules:
            sys.modules.pop(name, None)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._modules:
            return None
        file, text = self._modules[fullname]
        loader = _Loader(f"{ORIGIN}{file}", text)
        is_package = file.endswith("/__init__.py")
        spec = importlib.util.spec_from_loader(fullname, loader, origin=loader.file, is_package=is_package)
        if spec is not None and is_package:
            today = importlib.machinery.PathFinder.find_spec(fullname, path)
            spec.submodule_search_locations = list((today and today.submodule_search_locations) or [])
        return spec


class _Loader(importlib.abc.InspectLoader):
    """Loads a module from its source."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._text = text

    def get_source(self, fullname: str) -> str:
        return self._text

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return self.source_to_code(self._text, self.file)

    def is_package(self, fullname: str) -> bool:
        return self.file.endswith("/__init__.py")

"""How far a snapshot is trusted when it is restored: three modes, and never a fall-back from one to another."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from runner import targets
from runner.checks import at_least, choices
from runner.errors import ConfigError, SnapshotMismatchError, SnapshotRefusedError
from runner.graph import Workflow
from runner.memory import without_garbage_collection
from runner.snapshots.codecs.budget import Budget
from runner.snapshots.format.placing import Placed
from runner.snapshots.format.seal import SIGNATURE_SIZE, is_signature
from runner.snapshots.format.signing_keys import Key, read_key
from runner.snapshots.settings import Trust
from runner.snapshots.unpickling.allowed import Allowed
from runner.snapshots.unpickling.allowed.classes import find
from runner.snapshots.unpickling.soundness import check_sound, learn_types
from runner.snapshots.unpickling.unpickler import Unpickler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Policy:
    """What is trusted.

    Args:
        trust: the mode, or its name.
        trusted: for `restricted`, the run's own modules, whose classes snapshots may hold, and full names of functions that a
            unit may be given.
        key: for `signed`, where the key is, or its public one: the path of a file, or `env:NAME`.
        renamed: what classes of the run's own are called today, by the full names that snapshots have.
        max_bytes: bytes that a snapshot may decode to, and its objects take. Default: see `Budget`.
        kept_code: whether the code that is kept with the snapshot takes the place of today's.

    Raises:
        ConfigError: an unknown mode, `signed` without a key or with a bad one, a key that is not for the mode, or a module
            that cannot be declared.
    """

    trust: Trust | str = Trust.restricted
    trusted: Sequence[str] = ()
    key: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int | None = None
    kept_code: bool = False
    secret: Key | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        try:
            mode = Trust(self.trust)
        except ValueError as error:
            raise ConfigError(
                f"restore.trust={self.trust!r} is unknown; {choices(self.trust, [mode.value for mode in Trust])}"
            ) from error
        object.__setattr__(self, "trust", mode)
        if self.kept_code and mode is Trust.restricted:
            raise ConfigError(
                "restore.code=snapshot runs the code that is kept with the snapshot: it needs restore.trust=signed with"
                " restore.key=..., or restore.trust=full"
            )
        at_least("restore.max_bytes", self.max_bytes, 1, "bytes")
        Allowed(self.trusted, self.renamed)
        learn_types()
        if mode is Trust.signed:
            if self.key is None:
                raise ConfigError("restore.trust=signed needs restore.key=FILE or restore.key=env:NAME")
            object.__setattr__(self, "secret", read_key(self.key))
        elif self.key is not None:
            raise ConfigError(f"restore.key is for restore.trust=signed: restore.trust={mode.value} looks at no signature")

    def load(self, file: Placed, budget: Budget | None = None) -> Any:
        """Loads the pickle of a snapshot whose digest, and for `signed` whose signature, were found right.

        Args:
            file: the pickle.
            budget: what its objects may take.

        Raises:
            SnapshotRefusedError: the pickle holds what may not be loaded.
            SnapshotMismatchError: a class is not here.
        """
        if self.trust is Trust.full:
            log.warning("restore.trust=full: the snapshot is loaded without any check of what it does")
        with without_garbage_collection():
            value = self._restricted(file, budget) if self.trust is Trust.restricted else _Renaming(file, self.renamed).load()
        rest = file.read(SIGNATURE_SIZE + 1)
        if rest and not is_signature(rest):
            raise SnapshotRefusedError("it goes on after the end of its pickle")
        return value

    def class_named(self, name: str) -> type | None:
        """Returns a class that a restored unit names by its full name; None if its module is not trusted.

        Raises:
            SnapshotRefusedError: it is not a class that is defined there.
            SnapshotMismatchError: there is no such class.
        """
        module, _, cls = self.renamed.get(name, name).rpartition(".")
        if self.trust is Trust.restricted and not Allowed(self.trusted, self.renamed).trusts(module):
            return None
        return find(module, cls).cls

    def function_named(self, name: str) -> Callable[..., Any] | None:
        """Returns a function, or a class to be made, that a restored unit names; None if it is not trusted by its full name.

        Raises:
            SnapshotMismatchError: there is none.
        """
        if self.trust is Trust.restricted and name not in self.trusted:
            return None
        try:
            found: Callable[..., Any] = targets.find("the snapshot", name)
        except ConfigError as error:
            raise SnapshotMismatchError(str(error)) from error
        return found

    def _restricted(self, file: Placed, budget: Budget | None) -> Any:
        allowed = Allowed(self.trusted, self.renamed)
        value = Unpickler(file, allowed, budget).load()
        if isinstance(value, Workflow):
            check_sound(value, allowed.made, allowed.callables)
        return value


class _Renaming(pickle.Unpickler):
    """Python's own unpickler, which finds renamed classes."""

    def __init__(self, file: Placed, renamed: Mapping[str, str]) -> None:
        super().__init__(file)
        self._renamed = renamed

    def find_class(self, module_name: str, global_name: str) -> Any:
        module, _, name = self._renamed.get(f"{module_name}.{global_name}", f"{module_name}.{global_name}").rpartition(".")
        return super().find_class(module, name) if "." not in global_name else super().find_class(module_name, global_name)

"""The code that is kept with the snapshots of a run: the files of the user's own modules, the conf file, the git commit.

It is data. Nothing of it is run unless a restore asks for that (`restore.code=snapshot`) and has the authority to.
"""

from __future__ import annotations

import difflib
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from runner.errors import SnapshotDamagedError, SnapshotNotFoundError
from runner.snapshots.format.header import Header
from runner.snapshots.stores.store import Store

LIMIT = 1 << 20
"""Bytes of source files, conf file and git's difference in all; what is beyond is left out, and that is told."""
LARGEST = 16 << 20
"""Bytes that the code of a snapshot may decode to."""

ORIGIN = "<kept with the snapshot>/"
"""What the name of a module's file begins with if it was imported from kept code."""

_PYTHON = re.compile(r"(?:[A-Za-z_]\w*/)*[A-Za-z_]\w*\.py", re.ASCII)
_CONF = re.compile(r"[\w.+-]*\w\.ya?ml", re.ASCII)


@dataclass(frozen=True)
class KeptCode:
    """The code of a run.

    Attributes:
        modules: the file of each module, `pkg/units.py` for `pkg.units` and `pkg/__init__.py` for a package.
        files: the source files, by name.
        conf: the name and the text of the conf file; passwords are masked in it.
        commit: the git commit that the files were checked out from, if they were.
        changes: how the files differed from that commit, as git tells it.
        left_out: what there was no room for.
    """

    files: Mapping[str, str]
    modules: Mapping[str, str] = field(default_factory=dict)
    conf: tuple[str, str] | None = None
    commit: str | None = None
    changes: str = ""
    left_out: tuple[str, ...] = ()

    def written(self) -> bytes:
        """Returns the code as one text, the same for the same code."""
        values = {
            "files": dict(self.files),
            "modules": dict(self.modules),
            "conf": self.conf,
            "commit": self.commit,
            "changes": self.changes,
            "left_out": self.left_out,
        }
        return json.dumps(values, sort_keys=True).encode()

    @property
    def digest(self) -> str:
        """The SHA-256 of the text, which is in the headers of snapshots, and signed with them."""
        return hashlib.sha256(self.written()).hexdigest()

    def packed(self) -> bytes:
        """Returns the code as stores keep it: in gzip."""
        return gzip.compress(self.written(), mtime=0)

    @classmethod
    def of(cls, header: Header, store: Store) -> KeptCode:
        """Returns the code that is kept with a snapshot.

        Raises:
            SnapshotNotFoundError: there is none.
            SnapshotDamagedError: it is not the code that the header means.
        """
        if header.kept_code is None:
            raise SnapshotNotFoundError(
                f"no code was kept with snapshot {header.uuid}: there was none of your own, or snapshotter.keep_code=false"
            )
        if (data := store.kept_code(header.kept_code)) is None:
            raise SnapshotNotFoundError(f"there is no code of snapshot {header.uuid} in {store} any more")
        return cls.unpacked(data, header.kept_code)

    @classmethod
    def unpacked(cls, data: bytes, digest: str) -> KeptCode:
        """Reads what a store has kept.

        Args:
            data: what `packed` returned.
            digest: what the header of the snapshot says.

        Raises:
            SnapshotDamagedError: it is not the code that the header means.
        """
        try:
            text = zlib.decompressobj(31).decompress(data, LARGEST)
            if hashlib.sha256(text).hexdigest() != digest:
                raise ValueError("its digest is not the one in the header")
            values = json.loads(text)
            files = _texts(values["files"])
            modules = {name: file for name, file in _texts(values["modules"]).items() if file in files}
            conf = None if values["conf"] is None else (str(values["conf"][0]), str(values["conf"][1]))
            if not all(map(_PYTHON.fullmatch, files)) or (conf is not None and not _CONF.fullmatch(conf[0])):
                raise ValueError("it has a file whose name leads elsewhere")
            commit = None if values["commit"] is None else str(values["commit"])
            return cls(files, modules, conf, commit, str(values["changes"]), tuple(map(str, values["left_out"])))
        except (ValueError, TypeError, KeyError, IndexError, RecursionError, zlib.error) as error:
            raise SnapshotDamagedError(f"the code that is kept with it cannot be used: {error}") from error


def _texts(value: Any) -> dict[str, str]:
    return {str(key): str(text) for key, text in dict(value).items()}


def file_of(module: str, is_package: bool) -> str:
    """Returns the name of a module's file in `KeptCode`."""
    return f"{module.replace('.', '/')}{'/__init__' if is_package else ''}.py"


def difference(kept: str, now: str, name: str) -> Iterator[str]:
    """Yields the lines of a unified diff from the kept text of a file to today's."""
    names = f"{name} (with the snapshot)", f"{name} (now)"
    yield from difflib.unified_diff(kept.splitlines(), now.splitlines(), *names, lineterm="")


def counted(kept: str, now: str) -> str:
    """Returns how much a file has changed, `+3 -1`."""
    lines = [line for line in difference(kept, now, "") if not line.startswith(("+++", "---"))]
    return f"+{sum(line.startswith('+') for line in lines)} -{sum(line.startswith('-') for line in lines)}"

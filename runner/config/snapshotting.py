"""Where snapshots go, and how far one that is restored is trusted."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from runner.checks import choices
from runner.errors import ConfigError
from runner.snapshots.odbc.dialects import check_table
from runner.snapshots.settings import SnapshotterSettings, Trust
from runner.snapshots.stores.file_system import read_mode
from runner.snapshots.stores.location import DEFAULT_TABLE, SCHEME

CODE = ("today", "snapshot")


@dataclass(kw_only=True)
class SnapshotterConfig(SnapshotterSettings):
    """When snapshots are taken, and where they go."""

    key: str | None = None
    """Key that signs the snapshots, a secret or a private Ed25519 key: the path of a file, or `env:NAME`. Default: none."""
    mode: str | int | None = None
    """Permissions of snapshots, spool and run folder, such as `0600`; folders get `x` with each `r`. Default: the umask's."""
    directory: str | None = None
    """Folder of the snapshots, or a URL such as `s3://bucket/folder`. Default: the run's output folder."""
    odbc: str | None = None
    """Database of the snapshots, instead of a folder: a connection string, `DSN=name`, or the name of a data source."""
    table: str = DEFAULT_TABLE
    """Table of the snapshots in the database."""
    create_table: bool = True
    """Whether the table is made if it is not there."""
    spool: str | None = None
    """Folder for snapshots that cannot be put where they belong; `outputs/spool` with `odbc` or a URL; empty for none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_table(self.table)
        if self.directory is not None and self.directory.startswith(SCHEME):
            raise ConfigError(f"snapshotter.directory={self.directory!r} is a database: name it with snapshotter.odbc")
        for key in ("directory", "spool"):
            _check_folder(f"snapshotter.{key}", getattr(self, key))
        if self.prefix is not None and any(slash in self.prefix for slash in "/\\"):
            raise ConfigError(
                f"snapshotter.prefix={self.prefix!r} begins the names of files, which have no slashes: a folder is"
                " snapshotter.directory=FOLDER"
            )
        read_mode(self.mode)

    @property
    def permissions(self) -> int | None:
        """The permissions of `mode`."""
        return read_mode(self.mode)


def _check_folder(key: str, folder: str | None) -> None:
    """Raises a ConfigError for a folder that cannot be made, or is not what it looks like."""
    if not folder or "://" in folder:
        return
    if folder.startswith("~"):
        raise ConfigError(f"{key}={folder!r} begins with ~, for which only a shell puts a folder: type {key}=$HOME/...")
    for path in (Path(folder), *Path(folder).parents):
        if os.path.exists(path) and not os.path.isdir(path):  # these take a name that is too long for one that is not there
            raise ConfigError(f"{key}={folder!r} is not a folder: {str(path)!r} is a file")


@dataclass(kw_only=True)
class RestoreConfig:
    """How far the snapshot that is restored is trusted."""

    trust: Trust = Trust.restricted
    """How it is loaded: `restricted`, `signed` or `full`."""
    trusted: list[str] = field(default_factory=list)
    """Modules and packages of your own whose classes it may hold, and full names of functions that it may have called, such as
    the `lr_lambda` of a scheduler; for `restricted`."""
    key: str | None = None
    """Key that checks its signature, for `signed`: the secret, or the public Ed25519 key; the path of a file, or `env:NAME`."""
    renamed: dict[str, str] = field(default_factory=dict)
    """What classes of your own are called today, by their full names in the snapshot: `{old_pkg.Name: new_pkg.Name}`."""
    max_bytes: int | None = None
    """Bytes that the snapshot may decode to, and its objects take. Default: what is free, and an honest snapshot may need."""
    code: str = "today"
    """Whose code runs: `today`'s, or the `snapshot`'s, which was kept with it and needs `trust` to be `signed` or `full`."""
    allow_changed_data: bool = False
    """Whether the run goes on although the data set is not the one that the snapshot was made with."""

    def __post_init__(self) -> None:
        if self.code not in CODE:
            raise ConfigError(f"restore.code={self.code!r} is unknown; {choices(self.code, CODE)}")
        if (
            self.code == "today"
            and self.trust is Trust.restricted
            and not self.trusted
            and not self.renamed
            and not (self.key or self.max_bytes)
        ):
            return  # the defaults: `--help` must not wait for the imports below
        from runner.snapshots.restoring.trust import Policy

        Policy(self.trust, tuple(self.trusted), self.key, self.renamed, self.max_bytes, self.code == "snapshot")

"""The folder of a run, which Hydra makes, with its configuration and the log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from runner.snapshots.stores.file_system import of_folder


def permit(folder: str, mode: int | None) -> None:
    """Gives the folder of a run, and what Hydra has put into it, the permissions of `snapshotter.mode`.

    A folder that holds anything else was there before the run, and is left as it is.

    Args:
        folder: the run's.
        mode: for files; nothing is done if None.
    """
    if mode is None:
        return
    with suppress(OSError):  # the log is opened with its first line, which must find it closed to others
        (Path(folder) / f"{HydraConfig.get().job.name}.log").touch(mode & 0o666)
    own = list(_made_by_hydra(Path(folder)))
    if set(Path(folder).iterdir()) <= set(own):
        own.append(Path(folder))
    for path in own:
        path.chmod(of_folder(mode) if path.is_dir() else mode & 0o666)


def _made_by_hydra(folder: Path) -> Iterator[Path]:
    hydra = HydraConfig.get()
    of_sweep = [Path(hydra.sweep.dir) / "multirun.yaml"] if hydra.mode is RunMode.MULTIRUN else []
    for path in (folder / f"{hydra.job.name}.log", folder / ".hydra", *folder.glob(".hydra/*.yaml"), *of_sweep):
        if path.exists() and not path.is_symlink():
            yield path

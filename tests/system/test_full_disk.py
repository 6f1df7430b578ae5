"""A disk that is full, read-only, or limited: the run says what to do, and what was written stays."""

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import restore
from tests import forked
from tests.conftest import VELES_RUN, Run

BASE = ("conf=mnist_small", "loader.train_size=600", "loader.validation_size=200", "decision.max_epochs=4", "seed=7")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory of its own; the tests run as root."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def check(error: str, folder: Path, before: set[str], reason: str) -> None:
    assert re.search(rf"veles-run: cannot write to '{folder}': {reason} \(.*snapshotter.directory=DIR", error), error
    assert "Traceback" not in error
    assert before <= names(folder)
    for path in folder.glob("[!.]*.pickle*"):
        restore(path)
    assert not [name for name in names(folder) if name.startswith(".")]


def test_a_full_disk(veles_run: Run, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=1m") as folder:
        veles_run(*BASE[:3], "decision.max_epochs=1", f"snapshotter.directory={folder}")
        before = names(folder)
        done = veles_run(*BASE, f"snapshotter.directory={folder}", "layers.fc1.output_sample_shape=400", code=1)
        check(done.stderr, folder, before, "No space left on device")
        veles_run("conf=mnist_small", "snapshot=latest", f"snapshotter.directory={folder}", "decision.max_epochs=2")


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    command = [*VELES_RUN, *BASE, f"snapshotter.directory={folder}", "plotters=false", "report=false"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # noqa: E731
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, preexec_fn=limit)
    assert done.returncode == 1
    check(done.stderr, folder, set(), "File too large")


@pytest.mark.parametrize("on_error", ["raise", "warn"])
def test_a_read_only_folder(on_error: str, veles_run: Run, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=8m") as folder:
        veles_run(*BASE[:3], "decision.max_epochs=1", f"snapshotter.directory={folder}")
        before = names(folder)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        options = [f"snapshotter.directory={folder}", f"snapshotter.on_error={on_error}"]
        done = veles_run(*BASE, *options, code=1)
        if on_error == "raise":
            check(done.stderr, folder, before, "Read-only file system")
        else:
            assert "Read-only file system" in done.stdout
            assert "Epoch 4" in done.stdout
        assert names(folder) == before


@pytest.mark.parametrize("arguments", [(), ("mode=evaluate", "snapshot=none.pickle.gz"), ("graph=g.dot",), ("-m",)])
def test_a_current_folder_that_is_read_only(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """The folder of the run cannot be made there: one line, which names the key that chooses another."""
    with mounted(tmp_path / "disk", "size=1m") as folder:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        done = forked.run([*BASE, *arguments], cwd=folder, environment=os.environ, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "Read-only file system" in line
    assert ("hydra.sweep.dir" if arguments == ("-m",) else "hydra.run.dir") in line


def test_a_run_folder_on_a_full_disk(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=64k") as folder:
        (folder / "full").write_bytes(bytes(60 << 10))
        done = forked.run(BASE, cwd=folder, environment=os.environ, timeout=60)
    assert done.returncode == 2
    assert done.stderr == "veles-run: No space left on device (the run's folder is hydra.run.dir)\n"

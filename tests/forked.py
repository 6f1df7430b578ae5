"""Runs of our commands in processes that are forked from one which has imported them: the imports are most of a short run."""

import atexit
import gc
import multiprocessing
import os
import pkgutil
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

VELES_RUN = (sys.executable, "-m", "runner")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.preloaded"])

MAINS = {
    "veles-run": "runner.cli.starting.starters:main",
    "veles-snapshots": "runner.cli.shelf.app:main",
    "python": "tests.forked:script",
}
"""The functions that the commands call."""


def script() -> None:
    """Runs a script or a module, as `python FILE ARGUMENTS` and `python -m MODULE ARGUMENTS` do."""
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


def _interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what an interpreter takes from the environment when it starts."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LD_"))}


_HERE = _interpreter(os.environ)


def run(
    arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], timeout: float, command: str = "veles-run"
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, as `subprocess.run` does.

    An environment that an interpreter would see when it starts, such as another PYTHONPATH, has a new interpreter.
    """
    if _interpreter(environment) != _HERE:
        assert command == "veles-run"
        return subprocess.run(
            [*VELES_RUN, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )
    with Started(arguments, cwd=cwd, environment=environment, command=command) as started:
        return started.end(timeout)


class Started:
    """A run of the command that has been started; it is killed at the end of the block, if it has not ended by then."""

    def __init__(
        self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], command: str = "veles-run"
    ) -> None:
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        values = (command, arguments, cwd, dict(environment), self._outputs)
        self.process = _context.Process(target=_call, args=values)
        self.process.start()

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        self._folder.cleanup()

    def end(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Waits for its end."""
        self.process.join(timeout)
        texts = [path.read_text() for path in self._outputs]
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout, *(text.encode() for text in texts))
        return subprocess.CompletedProcess(self._arguments, self.process.exitcode, *texts)


def _call(command: str, arguments: Sequence[str], cwd: Path, environment: dict[str, str], outputs: Sequence[Path]) -> None:
    for number, path in enumerate(outputs, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = str(cwd)  # as `python -m` has it
    sys.argv = [command, *arguments]
    gc.disable()  # as `runner.__main__` does, until a run begins
    try:
        pkgutil.resolve_name(MAINS[command])()
    finally:
        atexit._run_exitfuncs()  # which processes of multiprocessing leave out

"""Runs of `veles-run` in processes that are forked from one which has imported it: the imports are most of a short run."""

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

VELES_RUN = (sys.executable, "-m", "runner")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["runner.cli.run", "runner.cli.job"])


def _interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what an interpreter takes from the environment when it starts."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LD_"))}


_HERE = _interpreter(os.environ)


def run(
    arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    """Runs the command to its end, as `subprocess.run` does.

    An environment that an interpreter would see when it starts, such as another PYTHONPATH, has a new interpreter.
    """
    if _interpreter(environment) != _HERE:
        command = [*VELES_RUN, *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    with Started(arguments, cwd=cwd, environment=environment) as started:
        return started.end(timeout)


class Started:
    """A run of the command that has been started; it is killed at the end of the block, if it has not ended by then."""

    def __init__(self, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        self.process = _context.Process(target=_veles_run, args=(arguments, cwd, dict(environment), self._outputs))
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


def _veles_run(arguments: Sequence[str], cwd: Path, environment: dict[str, str], outputs: Sequence[Path]) -> None:
    for number, path in enumerate(outputs, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = str(cwd)  # as `python -m` has it
    sys.argv = ["veles-run", *arguments]
    from runner.cli.run import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()  # which processes of multiprocessing leave out

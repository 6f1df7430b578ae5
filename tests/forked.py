"""Runs of our commands in processes that are forked from one which has imported them: the imports are most of a short run."""

import atexit
import multiprocessing
import os
import pkgutil
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

VELES_RUN = (sys.executable, "-m", "runner")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.preloaded"])

ENCODING = "PYTHONIOENCODING"
"""What a process that is forked can obey as an interpreter does that starts."""

MAINS = {
    "veles-run": "runner.__main__:main",
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
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


def _interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns what an interpreter alone takes from the environment, when it starts."""
    return {name: value for name, value in environment.items() if name.startswith(("PYTHON", "LD_")) and name != ENCODING}


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


def typed(command: str, *more: str, cwd: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Runs a command as it is typed into bash, which says what its arguments are; returns what it prints."""
    bash = ["bash", "-c", rf"printf '%s\0' {command}"]
    words = subprocess.run(bash, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    _, *arguments, _ = words.split("\0")
    done = run([*arguments, *more], cwd=cwd, environment=environment, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def output(arguments: Sequence[str], *, cwd: Path, command: str = "veles-run") -> str:
    """Returns what a run prints on standard output, which must succeed."""
    done = run(arguments, cwd=cwd, environment=os.environ, timeout=300, command=command)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Started:
    """A run of the command that has been started; it is killed at the end of the block, if it has not ended by then.

    Args:
        places: the files to which `stdin`, `stdout` and `stderr` lead, where they are not its own.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str] = os.environ,
        command: str = "veles-run",
        **places: str | Path,
    ) -> None:
        assert _interpreter(environment) == _HERE, "it takes an interpreter of its own"
        self._arguments = arguments
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = {name: Path(self._folder.name, name) for name in ("stdout", "stderr") if name not in places}
        values = (command, arguments, cwd, dict(environment), self._outputs | places)
        self.process = _context.Process(target=_call, args=values)
        self.process.start()
        self.pid: int = self.process.pid

    def __enter__(self) -> "Started":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.join()
        self._folder.cleanup()

    @property
    def output(self) -> str:
        """What it has written on standard output until now."""
        return self._written("stdout")

    @property
    def errors(self) -> str:
        """What it has written on standard error until now."""
        return self._written("stderr")

    def send_signal(self, number: signal.Signals) -> None:
        """Sends it a signal, if it has not ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _written(self, name: str) -> str:
        path = self._outputs[name]
        return path.read_text() if path.exists() else ""

    def wait_for(self, seen: Callable[[], object]) -> None:
        """Waits until something is seen; fails if the run ends before."""
        while not seen():
            if self.process.exitcode is not None:
                assert seen(), self.end(0)
                return
            time.sleep(0.001)

    def wait_for_line(self, begin: str, count: int = 1) -> None:
        """Waits until it has written so many lines that begin so."""
        self.wait_for(lambda: f"\n{self.output}".count(f"\n{begin}") >= count)

    def end(self, timeout: float) -> subprocess.CompletedProcess[str]:
        """Waits for its end."""
        self.process.join(timeout)
        texts = {name: self._written(name) for name in self._outputs}
        if self.process.exitcode is None:
            raise subprocess.TimeoutExpired(self._arguments, timeout, *(text.encode() for text in texts.values()))
        return subprocess.CompletedProcess(self._arguments, self.process.exitcode, texts.get("stdout"), texts.get("stderr"))


def _call(
    command: str, arguments: Sequence[str], cwd: Path, environment: dict[str, str], places: Mapping[str, str | Path]
) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if name in places:
            descriptor = os.open(places[name], os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, number)
            os.close(descriptor)
    if "stdin" in places:
        sys.stdin = os.fdopen(0, closefd=False)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding=environment.get(ENCODING))
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0] = str(cwd)  # as `python -m` has it
    sys.argv = [command, *arguments]
    try:
        pkgutil.resolve_name(MAINS[command])()
    finally:
        atexit._run_exitfuncs()  # which processes of multiprocessing leave out

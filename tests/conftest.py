"""What all tests share."""

import gc
import os
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.cli.first_words import COMMANDS
from tests import forked, temporary
from tests.buckets import Bucket, close_connections, new_bucket, s3
from tests.servers import KINDS, Server, Servers, odbc_settings

os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of the random tests; drawn and shown unless given")


def pytest_configure(config: pytest.Config) -> None:
    # As in a job that a script has put into the background, and below nohup: all runs of the tests would ignore them, too.
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)
    # Before the other processes that run tests are started: they are given the same seed.
    if config.option.seed is None:
        config.option.seed = random.SystemRandom().randrange(2**32)
    if not hasattr(config, "workerinput"):
        temporary.begin()


def pytest_collection_finish(session: pytest.Session) -> None:
    # Else each collection of garbage, of which tests and their forks make many, looks through all modules and tests.
    gc.collect()
    gc.freeze()


def pytest_report_header(config: pytest.Config) -> str:
    return f"random tests: --seed={config.option.seed}"


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that `--seed` repeats, the same for a test whatever else runs."""
    return random.Random(f"{request.config.option.seed} {request.node.nodeid}")


Run = Callable[..., subprocess.CompletedProcess[str]]

VELES_RUN = forked.VELES_RUN
SAYS_WHAT = ("conf=", "+conf=", "snapshot=", "+snapshot=")
"""How an argument of a single run begins that says what to run, if it is not the name of a conf."""


@pytest.fixture
def veles_run(tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """Runs the command in a folder of the test's own and returns what came of it.

    A single run draws pictures and writes a report only for modules of tests that have `PICTURES`: they take a quarter of the
    time of a small one.
    """
    pictures = getattr(request.module, "PICTURES", False)

    def run(*arguments: str | Path, code: int | None = 0, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        texts = [str(argument) for argument in arguments]
        options = any(text.startswith("-") for text in texts)
        named = code == 0 and texts and texts[0] not in COMMANDS and any("=" not in text for text in texts)
        single = not options and (named or any(text.startswith(SAYS_WHAT) for text in texts))
        plain = [] if pictures or not single else ["plotters", "report"]
        texts += [f"{key}=false" for key in plain if not any(text.startswith(f"{key}=") for text in texts)]
        done = forked.run(texts, cwd=cwd, environment=os.environ, timeout=300)
        if code is not None:
            assert done.returncode == code, f"{texts}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="session")
def odbc_folder() -> Iterator[Path]:
    """Settings of the driver manager for the tests and the processes that they start."""
    with odbc_settings() as folder:
        yield folder


@pytest.fixture(scope="session")
def servers(odbc_folder: Path) -> Iterator[Servers]:
    """The database servers, each started when it is first needed."""
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(scope="session")
def s3_port() -> Iterator[int]:
    """The port of a server that speaks the protocol of S3."""
    with s3() as port:
        yield port


@pytest.fixture
def bucket(s3_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A new, empty bucket, which this process and its children find by their environment."""
    bucket = new_bucket(s3_port)
    for name, value in bucket.environment().items():
        monkeypatch.setenv(name, value)
    yield bucket
    close_connections()
    bucket.client.close()


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, servers: Servers, tmp_path: Path) -> Server:
    """A new, empty database of each kind."""
    return servers.database(request.param, tmp_path)

"""What the tests of commands share."""

import os
import subprocess
from pathlib import Path

import pytest

from tests import forked
from tests.servers import KINDS, PASSWORD
from tests.shelves import Made, Shelf, with_history


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    def run(*arguments: object, code: int = 0, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        texts = [str(argument) for argument in arguments]
        done = forked.run(texts, cwd=cwd, environment=os.environ, timeout=120, command="veles-snapshots")
        assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        assert PASSWORD not in done.stdout + done.stderr
        return done

    return run


@pytest.fixture(params=["file", *KINDS])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Made:
    servers = None if request.param == "file" else request.getfixturevalue("servers")
    return with_history(Made(request.param, servers, tmp_path))

"""Every branch of what decides about snapshots is tried by the tests of this folder, without those that are slow."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = ("allowed", "attacks", "branches", "hostile", "keys", "restorable", "restore", "trust", "unpickler")
SLOW = (
    "what_can_be_called_is_refused",
    "it_is_said",
    "taken_without_a_word",
    "runs_sign_and_check",
    "not_signed_is_refused_or_trusted",
    "no_say_in_trust",
    "each_mode",
    "has_teeth",
    "nothing_can_be_called",
)
"""Tests that start processes, or try what others try another time; each has its turn outside of this one."""
ROOMS = "runner/snapshots"
DECIDING = (
    *(f"{ROOMS}/restoring/{name}.py" for name in ("grants", "trust")),
    *(f"{ROOMS}/unpickling/*", f"{ROOMS}/format/seal.py", f"{ROOMS}/format/signing_keys.py"),
)


def test_every_branch_is_tried(tmp_path: Path) -> None:
    here = Path(__file__)
    files = [str(here.with_name(f"test_{name}.py")) for name in TESTS]
    environment = os.environ | {"COVERAGE_FILE": str(tmp_path / "data")}
    for words in (
        ("run", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"not ({' or '.join(SLOW)})", *files),
        ("combine", "-q"),
        ("report", "-m", "--fail-under=100", f"--include={','.join(DECIDING)}"),
    ):
        command = [sys.executable, "-m", "coverage", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=here.parents[3], env=environment)
        assert done.returncode == 0, f"{words}\n{done.stdout[-5000:]}\n{done.stderr[-2000:]}"

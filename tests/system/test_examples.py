"""The examples, as their documentation says to run them: whole, and interrupted and continued."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PLACES = {
    "monte_carlo.py": lambda output: "snapshots/pi_current.5.pickle.gz",
    "monte_carlo_db.py": lambda output: re.findall(r"^Snapshot written: (odbc://\S+) ", output, re.MULTILINE)[-1],
}
"""For each script, where the newest snapshot is, by what was printed."""


@pytest.mark.parametrize("script", PLACES)
def test_a_script_is_interrupted_and_continues_identically(script: str, tmp_path: Path, odbc_folder: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    whole.mkdir()
    halves.mkdir()
    command = [sys.executable, str(EXAMPLES / script)]
    expected = subprocess.run(command, cwd=whole, capture_output=True, text=True, check=True).stdout
    with subprocess.Popen(command, cwd=halves, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told = process.stderr.readline()
        assert "Snapshot written" in told
        process.send_signal(signal.SIGINT)
        output, rest = process.communicate()
    assert process.returncode == 0
    assert output != expected
    command.append(PLACES[script](told + rest))
    assert subprocess.run(command, cwd=halves, capture_output=True, text=True, check=True).stdout == expected


def test_the_script_in_the_documentation(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "workflows.md").read_text()
    (tmp_path / "counting.py").write_text(re.search(r"`counting.py`:\n\n```python\n(.*?)```", page, re.DOTALL)[1])
    subprocess.run([sys.executable, "counting.py"], cwd=tmp_path, check=True, capture_output=True)
    found = sorted(path.name for path in (tmp_path / "snapshots").glob("counting_[0-9]*"))
    assert found == [f"counting_{number}.5.pickle.gz" for number in (100, 1000, 200, 300, 400, 500, 600, 700, 800, 900)]


def made(page: str) -> str:
    """Returns what the program of a page of the documentation prints."""
    return subprocess.run(
        [sys.executable, EXAMPLES.parent / "docs" / f"{page}.py"], capture_output=True, text=True, check=True
    ).stdout


def test_the_page_of_the_configuration_is_up_to_date() -> None:
    assert (EXAMPLES.parent / "docs" / "configuration.md").read_text() == made("configuration")


def test_the_tables_of_veles_keys_are_up_to_date() -> None:
    assert (EXAMPLES.parent / "docs" / "veles.md").read_text().endswith("\n\n" + made("veles"))

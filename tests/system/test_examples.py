"""The examples, as their documentation says to run them: whole, and interrupted and continued."""

import re
import signal
from pathlib import Path

import pytest

from tests import forked

EXAMPLES = Path(__file__).parents[2] / "examples"
PLACES = {
    "monte_carlo.py": lambda output: "snapshots/pi_current.5.pickle.gz",
    "monte_carlo_db.py": lambda output: re.findall(r"^Snapshot written: (odbc://\S+) ", output, re.MULTILINE)[-1],
}
"""For each script, where the newest snapshot is, by what was printed."""


@pytest.mark.parametrize("script", PLACES)
def test_a_script_is_interrupted_and_continues_identically(script: str, tmp_path: Path, odbc_folder: Path) -> None:
    whole, halves, longer = (tmp_path / name for name in ("whole", "halves", "longer"))
    for folder in (whole, halves, longer):
        folder.mkdir()
    for name in PLACES:  # what they do takes less than a fifth of a second behind the first snapshot
        (longer / name).write_text((EXAMPLES / name).read_text().replace("build(1000, ", "build(4000, "))
    arguments = [str(longer / script)]
    expected = forked.output(arguments, cwd=whole, command="python")
    with forked.Started(arguments, cwd=halves, command="python") as started:
        started.wait_for(lambda: "Snapshot written" in started.errors)
        started.send_signal(signal.SIGINT)
        done = started.end(60)
    assert done.returncode == 0
    assert done.stdout != expected
    arguments.append(PLACES[script](done.stderr))
    assert forked.output(arguments, cwd=halves, command="python") == expected


def test_the_script_in_the_documentation(tmp_path: Path) -> None:
    page = (EXAMPLES.parent / "docs" / "workflows.md").read_text()
    (tmp_path / "counting.py").write_text(re.search(r"`counting.py`:\n\n```python\n(.*?)```", page, re.DOTALL)[1])
    forked.output(["counting.py"], cwd=tmp_path, command="python")
    found = sorted(path.name for path in (tmp_path / "snapshots").glob("counting_[0-9]*"))
    assert found == [f"counting_{number}.5.pickle.gz" for number in (100, 1000, 200, 300, 400, 500, 600, 700, 800, 900)]


def made(page: str) -> str:
    """Returns what the program of a page of the documentation prints."""
    return forked.output([str(EXAMPLES.parent / "docs" / f"{page}.py")], cwd=EXAMPLES.parent, command="python")


def test_the_page_of_the_configuration_is_up_to_date() -> None:
    assert (EXAMPLES.parent / "docs" / "configuration.md").read_text() == made("configuration")


def test_the_tables_of_veles_keys_are_up_to_date() -> None:
    assert (EXAMPLES.parent / "docs" / "veles.md").read_text().endswith("\n\n" + made("veles"))

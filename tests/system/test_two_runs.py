"""Two processes that write to one folder at once, under the same names."""

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from runner.snapshots.restoring.restore import restore
from tests import forked
from tests.states import differences, state_of
from tests.system.test_interrupted import SMALL, hidden

LINE = re.compile(r"^Snapshot written: (\S+) ", re.MULTILINE)
DELETED = re.compile(r"^Snapshot deleted: (\S+)$", re.MULTILINE)


def both(folder: Path, *arguments: tuple[str, ...]) -> list[str]:
    """Runs the command with each of the arguments at once; returns what they print."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(forked.Started([*SMALL[:-2], *one, "plotters=false", "report=false"], cwd=folder))
            for one in arguments
        ]
        ended = [one.end(120) for one in started]
    for done in ended:
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    return [done.stdout for done in ended]


@pytest.mark.parametrize("seeds", [(7, 7), (7, 8)])
def test_both_keep_their_snapshots_and_retention_never_takes_the_others(seeds: tuple[int, int], tmp_path: Path) -> None:
    """One keeps only its newest, one keeps all. With the same seed, every name is taken by whoever comes first."""
    common = ("decision.max_epochs=6", "snapshotter.directory=snapshots", "decision.fail_iterations=100")
    first, second = both(tmp_path, (*common, f"seed={seeds[0]}", "snapshotter.keep_last=1"), (*common, f"seed={seeds[1]}"))
    kept = [path for path in LINE.findall(first) if path not in DELETED.findall(first)]
    assert kept == LINE.findall(first)[-1:]
    assert len(LINE.findall(first)) > 2
    assert DELETED.findall(second) == []
    found = {f"snapshots/{path.name}" for path in (tmp_path / "snapshots").iterdir() if not path.is_symlink()}
    assert found == {*kept, *LINE.findall(second)}
    assert hidden(tmp_path / "snapshots") == []
    logs = [{restore(tmp_path / path).header.log_id for path in paths} for paths in (kept, LINE.findall(second))]
    assert [len(one) for one in logs] == [1, 1]
    assert logs[0] != logs[1]
    if seeds[0] == seeds[1]:
        last = [state_of(tmp_path / LINE.findall(output)[-1]) for output in (first, second)]
        assert differences(*last) == []

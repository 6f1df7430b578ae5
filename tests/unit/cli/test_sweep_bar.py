"""The bar of a sweep says what the jobs' folders say, at each width."""

import json
import os
import re
from pathlib import Path

import pytest

from runner.cli.epoch_rows import Glyphs
from runner.cli.sweep_bar import SweepBar


def ended(folder: Path, job: str, status: str, objective: float | None, age: float = -1.0) -> None:
    """Leaves the result of a job, so many seconds before now."""
    (folder / job).mkdir(exist_ok=True)
    path = folder / job / "result.json"
    path.write_text(json.dumps({"status": status, "objective": objective}))
    time = path.stat().st_mtime - age
    os.utime(path, (time, time))


@pytest.mark.parametrize(
    ("width", "encoding", "wanted"),
    [
        (120, "utf-8", r"Sweep  ━+─+  4/10  best 1.25 \(job 2\)  1 failed(  \d+ s left)?"),
        (80, "utf-8", r"Sweep  ━+─+  4/10  best 1.25 \(job 2\)  1 failed(  \d+ s left)?"),
        (50, "ascii", r"Sweep  #+-+  4/10  best 1.25 \(job 2\)"),
        (30, "ascii", r"Sweep  #+-+  4/10"),
        (1, "ascii", "Sweep"),
    ],
)
def test_what_has_ended_is_told_as_far_as_there_is_room(width: int, encoding: str, wanted: str, tmp_path: Path) -> None:
    ended(tmp_path, "0", "finished", 3.5, age=1000)  # before this process began
    ended(tmp_path, "1", "stopped", 0.5, age=1000)
    (tmp_path / "5").mkdir()  # has begun
    (tmp_path / "6").write_text("")
    bar = SweepBar(tmp_path, count=10, left=9)
    ended(tmp_path, "2", "finished", 1.25)
    ended(tmp_path, "3", "failed", None)
    ended(tmp_path, "4", "pruned", 7.0)
    text = bar.line(width, Glyphs.of(encoding)).plain.rstrip()
    assert re.fullmatch(wanted, text)
    assert len(text) < max(width, 6)
    filled, rest = (sum(text.count(glyph) for glyph in glyphs) for glyphs in ("━#", "─-"))
    assert abs(4 * rest - 6 * filled) <= 10


def test_nothing_has_begun(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        bar = SweepBar(folder, count=3, left=3)
        assert bar.line(80, Glyphs.of("ascii")).plain.rstrip() == "Sweep  " + "-" * 40 + "  0/3"

"""What the report of a run says of its snapshots."""

import re
from pathlib import Path
from typing import Any

import pytest

from runner.report import write_report
from tests.shelves import Made, header


@pytest.mark.parametrize(
    ("monitor", "score", "metrics", "shown"),
    [
        (None, 1.5, {"validation": 1.5}, ("error", "1.5")),
        ("loss", 0.6956, {"validation": 0.6956}, ("loss", "0.6956")),
        ("accuracy", -0.8, {"validation": 0.8}, ("accuracy", "0.8")),
    ],
)
def test_snapshots_are_listed_by_what_is_monitored(
    monitor: str | None, score: float, metrics: dict[str, Any], shown: tuple[str, str], tmp_path: Path
) -> None:
    made = Made("file", None, tmp_path)
    made.add(header(1, "0", "0", score=score, metrics=metrics, config={"decision": {"monitor": monitor}}))
    (folder,) = (tmp_path / "outputs").iterdir()
    page = write_report(folder).read_text()
    table = page.partition("<h2>Snapshots</h2>")[2].partition("</table>")[0]
    cells = [re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", table) for tag in ("th", "td")]
    assert (cells[0][2], cells[1][2]) == shown

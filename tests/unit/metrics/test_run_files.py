import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from runner.loggers import metrics_file
from runner.loggers.logger import Run
from runner.loggers.metrics_file import MetricsFile
from runner.metrics import Records, read_metrics, read_result
from runner.metrics import records as records_module
from runner.metrics.run_files import METRICS, RESULT
from tests.system.test_full_disk import mounted

RUN = Run(name="n", log_id="id", folder=".")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path, 0o600)
    file.begin(RUN, [{"epoch": 1, "loss": math.inf}])
    file.log({"epoch": 2, "loss": 0.1})
    assert read_metrics(tmp_path) == [{"epoch": 1, "loss": None}, {"epoch": 2, "loss": 0.1}]
    assert read_result(tmp_path) is None
    file.finish({"status": "finished", "objective": math.nan})
    assert read_result(tmp_path) == {"status": "finished", "objective": None}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    file.begin(RUN, [])
    assert read_metrics(tmp_path) == []
    assert read_result(tmp_path) is None
    file.finish({})


def test_a_folder_that_is_not_there_is_no_run_without_numbers(tmp_path: Path) -> None:
    for read in (read_metrics, read_result):
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
            read(tmp_path / "nowhere")


def test_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    whole = b'{"epoch": 1}\n{"epoch": 2}\n'
    for size in range(len(whole)):
        (tmp_path / METRICS).write_bytes(whole[:size])
        assert read_metrics(tmp_path) == [{"epoch": 1}, {"epoch": 2}][: (size > 11) + (size > 24)]
    (tmp_path / METRICS).write_bytes(b'\xff\n[1]\n\x00\x00{"epoch": 3}\n{"epoch": 4}')
    assert read_metrics(tmp_path / METRICS) == [{"epoch": 4}]


def test_a_snapshot_keeps_the_newest_rows_of_minibatches(monkeypatch) -> None:
    monkeypatch.setattr(records_module, "MOST", 3)
    records = Records()
    for minibatch in range(1, 6):
        records.add_minibatches(epoch=1, minibatch=minibatch, loss=0.5)
    restored = Records.__new__(Records)
    restored.__setstate__(records.__getstate__())
    restored.add_minibatches(epoch=2, minibatch=6, loss=0.25)
    assert [row["minibatch"] for row in restored.rows()] == [4, 5, 6]


def test_rows_of_minibatches_take_no_more_memory_without_snapshots(monkeypatch) -> None:
    monkeypatch.setattr(records_module, "MOST", 30)
    monkeypatch.setattr(records_module, "GATHERED", 10)
    records = Records()
    for minibatch in range(95):
        records.add_minibatches(epoch=1, minibatch=minibatch, loss=0.5)
    assert len(records.minibatches) + len(records.new_) <= 40
    assert [row["minibatch"] for row in records.rows()] == [*range(65, 95)]


def strictly(text: str) -> Any:
    """Reads JSON as a reader that knows nothing of Python does."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    value = json.loads(text, parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()  # no lone surrogates
    return value


def test_whatever_is_measured_is_valid_json_for_any_reader(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    file.begin(RUN, [])
    file.log(
        {"loss": torch.tensor(0.5), "error": np.float64(math.nan), "note": "\ud800é", "\udcff": -math.inf, "big": 10**5000}
    )
    file.finish(
        {
            "objective": torch.tensor(2.0),
            "error": ValueError("\udcff"),
            "overrides": ("a", Path("b")),
            "best": {1: [np.int8(1)]},
        }
    )
    text = (tmp_path / METRICS).read_text("ascii")
    assert strictly(text) == {"loss": 0.5, "error": None, "note": "\\ud800é", "\\udcff": None, "big": None}
    result = strictly((tmp_path / RESULT).read_text("ascii"))
    assert result == {"objective": 2.0, "error": "\\udcff", "overrides": ["a", "b"], "best": {"1": [1]}}
    assert read_metrics(tmp_path) == [strictly(text)]


def test_lines_wait_for_room_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics_file, "PAUSES", (0.0,))
    with mounted(tmp_path / "disk", "size=64k") as disk:
        filler = disk / "filler"
        for room in (0, 8192):  # full at the beginning, and later
            filler.write_bytes(bytes(64 * 1024 - room - 4096 * len(list(disk.iterdir()))))
            file = MetricsFile(disk / "run")
            file.begin(RUN, [{"row": 0}])
            for row in range(1, 1000):
                file.log({"row": row, "text": "x" * 10})
            if not room:
                assert not (disk / "run" / METRICS).exists()
            filler.write_bytes(b"")
            file.log({"row": 1000})
            assert [row["row"] for row in read_metrics(disk / "run")] == [*range(1001)]
            assert (disk / "run" / METRICS).read_bytes().count(b"\n") == 1001
            file.finish({"status": "finished"})
            assert read_result(disk / "run") == {"status": "finished"}
            shutil.rmtree(disk / "run")
    assert len(caplog.messages) == 2
    assert all("No space left" in message for message in caplog.messages)


def test_the_result_is_written_though_the_metrics_cannot_be(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / METRICS).mkdir()
    file = MetricsFile(tmp_path)
    file.begin(RUN, [{"row": 0}])
    file.log({"row": 1})
    file.finish({"status": "failed"})
    assert read_result(tmp_path) == {"status": "failed"}
    assert len(caplog.messages) == 1
    assert {path.name for path in tmp_path.iterdir()} == {METRICS, RESULT}


def test_a_folder_that_is_deleted_under_a_run_has_all_rows_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = MetricsFile(tmp_path / "run")
    file.begin(RUN, [{"epoch": 1}])
    file.log({"epoch": 2})
    shutil.rmtree(tmp_path / "run")
    file.log({"epoch": 3})
    file.log({"epoch": 4})
    file.finish({"status": "finished"})
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(text) for text in lines] == [{"epoch": number} for number in (1, 2, 3, 4)]
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == {"status": "finished"}
    assert len([record for record in caplog.records if "has been deleted" in record.message]) == 1

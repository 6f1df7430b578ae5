import math
from pathlib import Path

from runner.loggers.logger import Run
from runner.loggers.metrics_file import MetricsFile
from runner.metrics import Records, read_metrics, read_result
from runner.metrics import records as records_module
from runner.metrics.run_files import METRICS

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

"""What was measured of a run: rows that are part of its state, and so of its snapshots."""

from runner.metrics.records import Records, Row, Rows, history_of, records_of, rows_so_far
from runner.metrics.run_files import read_metrics, read_result

__all__ = ["Records", "Row", "Rows", "history_of", "read_metrics", "read_result", "records_of", "rows_so_far"]

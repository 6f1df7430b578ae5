"""What was measured of a run: rows that are part of its state, and so of its snapshots."""

from runner.metrics.records import Records, Rows, records_of

__all__ = ["Records", "Rows", "records_of"]

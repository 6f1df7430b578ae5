"""`report.html`: one file that shows a run, or a sweep, in a browser, without a network."""

from runner.report.write import write_report

__all__ = ["write_report"]

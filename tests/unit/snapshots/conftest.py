"""Tests of this folder leave nothing behind, and have one turn each."""

import pytest

from tests.leaks import _session_is_ready, leaves_nothing
from tests.unit.snapshots.test_coverage import SLOW, TESTS

__all__ = ["_session_is_ready", "leaves_nothing"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what `test_coverage` runs in a process of its own, if that is among the tests."""
    if not any(item.path.name == "test_coverage.py" for item in items):
        return
    files = {f"test_{name}.py" for name in TESTS}
    again = [item for item in items if item.path.name in files and not any(word in item.name for word in SLOW)]
    config.hook.pytest_deselected(items=again)
    items[:] = [item for item in items if item not in {*again}]

"""Files of arrays, as they are predicted from."""

from pathlib import Path

import numpy as np
import pytest

from runner.datasets import array_files


@pytest.mark.parametrize(("more", "told"), [({}, []), ({"labels": 2}, []), ({"extra": 3, "other": 1}, ["extra, other"])])
def test_arrays_that_are_not_read_are_named(
    more: dict[str, int], told: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, data=np.eye(4), **{name: np.full(4, value) for name, value in more.items()})
    data, _ = array_files.load("data", path, labeled=False)
    assert np.array_equal(data, np.eye(4))
    assert [record.message for record in caplog.records] == [f"x.npz: of its arrays, {names} are not read" for names in told]

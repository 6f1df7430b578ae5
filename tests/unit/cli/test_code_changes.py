"""What is said of a run that goes on with other packages than those that its bits come from."""

import dataclasses
import logging
from pathlib import Path

import pytest

from runner.cli import code_changes
from runner.config import Mode
from tests.workflows import holding, restored


@pytest.mark.parametrize(
    ("versions", "told"),
    [
        ({}, ""),
        ({"torch": "1.0"}, "torch was 1.0 and is "),
        ({"python": "3.1", "numpy": "1.0"}, "python was 3.1 and is "),
        ({"veles-runner": "0.0", "hydra-core": "0.0"}, ""),
    ],
)
@pytest.mark.parametrize("mode", Mode)
def test_other_packages_are_told(
    versions: dict[str, str], told: str, mode: Mode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    workflow, _, snapshotter = holding(1, tmp_path)
    workflow.run()
    snapshotter.finish()
    found = restored(snapshotter.last_location)
    assert found.header.versions.keys() >= {"python", "torch", "numpy"}
    header = dataclasses.replace(found.header, versions=found.header.versions | versions)
    with caplog.at_level(logging.WARNING):
        code_changes.warn(dataclasses.replace(found, header=header), mode)
    lines = [record.getMessage() for record in caplog.records if "to other bits" in record.getMessage()]
    assert [line.startswith(told) for line in lines] == ([True] if told and mode is Mode.train else [])

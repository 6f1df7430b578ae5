"""Texts of a conf file are as they are written, wherever YAML takes them from."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf._utils import get_yaml_loader

from runner.config.yaml_texts import as_written


@pytest.mark.parametrize(
    ("snapshotter", "expected"),
    [
        ("{prefix: 1e3, directory: 0x10}", {"prefix": "1e3", "directory": "0x10"}),
        ("{prefix: &p 2024_01, directory: *p}", {"prefix": "2024_01", "directory": "2024_01"}),
        ("{<<: {prefix: 2024_01, keep_last: 1}, directory: 1.0}", {"prefix": "2024_01", "keep_last": 1, "directory": "1.0"}),
        ("{<<: [{prefix: 1e3}, {prefix: 0x10, directory: 0o17}]}", {"prefix": "1e3", "directory": "0o17"}),
        ("{<<: {<<: {prefix: 1_0}}, keep_last: 2}", {"prefix": "1_0", "keep_last": 2}),
        ("{<<: {prefix: 1e3}, prefix: 2e3}", {"prefix": "2e3"}),
    ],
)
def test_texts_are_as_they_are_written(snapshotter: str, expected: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "conf.yaml"
    path.write_text(f"snapshotter: {snapshotter}\n")
    content = yaml.load(path.read_text(), Loader=get_yaml_loader())
    assert as_written(content, path) == {"snapshotter": expected}

"""Texts of a conf file are as they are written, wherever YAML takes them from."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf._utils import get_yaml_loader

from runner.config.yaml_texts import as_written
from runner.errors import ConfigError


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


@pytest.mark.parametrize(
    ("written", "number"), [("020", 16), ("-010", -8), ("0_17", 15), ("1:30", 90), ("1:30.5", 90.5), ("190:20:30", 685230)]
)
def test_numbers_in_base_8_and_60_are_refused(written: str, number: float, tmp_path: Path) -> None:
    path = tmp_path / "conf.yaml"
    path.write_text(f"loader:\n  minibatch_size: {written}\n")
    content = yaml.load(path.read_text(), Loader=get_yaml_loader())
    assert content == {"loader": {"minibatch_size": number}}
    with pytest.raises(ConfigError, match=rf"conf.yaml:2:19: YAML takes {written} for the number {number}: write {number}"):
        as_written(content, path)


@pytest.mark.parametrize("written", ["0", "00", "10", "-1", "0.5", "1_0", "0x10", "1e-3", "0b11", "08"])
def test_other_numbers_are_what_they_look_like(written: str, tmp_path: Path) -> None:
    path = tmp_path / "conf.yaml"
    path.write_text(f"loader: {{minibatch_size: {written}}}\n")
    content = yaml.load(path.read_text(), Loader=get_yaml_loader())
    assert as_written(content, path) == content

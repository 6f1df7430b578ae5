"""What the page of a sweep is given."""

import base64
from pathlib import Path

import pytest

from runner.report.sweep_report import MOST_BYTES, sweep_report


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(("chosen", "conf"), [("mnist", "mnist"), ("null", None)])
def test_a_sweep_is_named_after_its_conf_if_it_has_one(chosen: str, conf: str | None, sweep: Path) -> None:
    (sweep / "0" / ".hydra" / "hydra.yaml").write_text(f"hydra: {{runtime: {{choices: {{conf: {chosen}}}}}}}\n")
    assert sweep_report(sweep)["conf"] == conf


@pytest.mark.parametrize(("content", "is_shown"), [(b"\x89PNG\r\n\x1a\n.", True), (b"<svg/>", False), (b"", False)])
def test_only_a_picture_is_shown(content: bytes, is_shown: bool, sweep: Path) -> None:
    assert sweep_report(sweep)["picture"] == ""
    (sweep / "sweep.png").write_bytes(content)
    shown = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    assert sweep_report(sweep)["picture"] == (shown if is_shown else "")
    (sweep / "sweep.png").write_bytes(content + bytes(MOST_BYTES))
    assert sweep_report(sweep)["picture"] == ""

"""Files in the user's folder that have the names of packages."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [Path(sys.executable).with_name("veles-run"), "mnist_small", "loader.train_size=600", "loader.validation_size=200"]


@pytest.mark.parametrize("names", [("runner.py", "conf.py", "torch.py", "yaml.py"), ("runner/__init__.py", "conf")])
def test_they_do_not_take_the_place_of_the_packages(names: tuple[str, ...], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("raise RuntimeError('the wrong one')\n")
    (tmp_path / "mine.py").write_text(
        "from runner.nn.loading.mnist_loader import MnistLoader\n\n\nclass Mine(MnistLoader): ...\n"
    )
    command = [*COMMAND, "loader._target_=mine.Mine", "decision.max_epochs=1", "plotters=true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Best validation error" in done.stdout
    assert not done.stderr
    assert list(tmp_path.glob("outputs/*/*/*/plot_errors.png"))

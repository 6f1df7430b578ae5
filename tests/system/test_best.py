"""The best epoch is one: on the screen, in `result.json`, for `best`, and for what is kept."""

import json
import re
from pathlib import Path

from tests import forked
from tests.conftest import Run

TIED = (
    *("conf=mnist_small", "loader.train_size=200", "loader.validation_size=100", "seed=1", "report=false", "plotters=false"),
    *("layers.fc1.learning_rate=1e-9", "layers.out.learning_rate=1e-9", "decision.max_epochs=4"),
)
"""A run whose epochs are all as good."""


def test_of_equal_epochs_it_is_the_first_everywhere(veles_run: Run, tmp_path: Path) -> None:
    def shelf(*arguments: str) -> str:
        return forked.output(arguments, cwd=tmp_path, command="veles-snapshots")

    for number, keys in enumerate(((), ("snapshotter.keep_best=1",))):
        folder = f"run{number}"
        output = veles_run(*TIED, *keys, f"hydra.run.dir={folder}").stdout
        assert "(epoch 1)" in re.search(r"^Best validation error: .*$", output, re.MULTILINE)[0]
        result = json.loads((tmp_path / folder / "result.json").read_text())
        assert result["best_epoch"] == 1
        shelf("prune", folder, "--keep-best", "1", "--yes")
        (best,) = json.loads(shelf("best", folder, "--json"))
        assert best["epoch"] == 1
        assert (tmp_path / best["location"]).samefile(tmp_path / result["best_snapshot"])


def test_of_a_run_that_went_on_in_another_folder_it_may_be_in_the_first(veles_run: Run, tmp_path: Path) -> None:
    small = TIED[:-3]
    veles_run(*small, "decision.max_epochs=2", "decision.fail_iterations=50", "hydra.run.dir=first")
    first = json.loads((tmp_path / "first" / "result.json").read_text())
    worse = ("layers.fc1.learning_rate=30", "layers.out.learning_rate=30", "decision.on_nan=ignore")
    veles_run(*small, *worse, f"snapshot={first['last_snapshot']}", "decision.max_epochs=4", "hydra.run.dir=second")
    second = json.loads((tmp_path / "second" / "result.json").read_text())
    assert second["best_epoch"] == first["best_epoch"]
    assert second["best_snapshot"] == first["best_snapshot"]

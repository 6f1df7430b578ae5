"""Plotters of one's own in workflows of one's own."""

import logging
from pathlib import Path

import pytest
from PIL import Image

from runner import Launcher, Plotter, Workflow
from runner.plots.pictures import Curves, Picture
from tests.states import differences, workflow_state
from tests.units import Counter, LoggedWorkflow, loop, snapshotter
from tests.workflows import restored


class Turns(Plotter):
    """Shows how often the loop is still to turn."""

    turns: int

    def picture(self) -> Picture:
        return Curves(series={"turns": range(self.turns)}, x="turn")


class Bad(Plotter):
    turns: int

    def picture(self) -> Picture:
        raise KeyError(self.turns)


def build(folder: Path, *plotters: type[Plotter]):
    workflow = LoggedWorkflow(name="turning")
    counter, taker = Counter(workflow, "counter", 5), snapshotter(workflow, folder)
    loop(workflow, counter, taker, counter=counter)
    for kind in plotters:
        kind(workflow).link_from(counter).link_attrs(counter, "turns")
    return workflow, taker


def test_a_plotter_draws_where_the_launcher_has_a_folder(tmp_path: Path) -> None:
    workflow, _ = build(tmp_path, Turns)
    Launcher(plots=tmp_path / "plots").run(workflow)
    with Image.open(tmp_path / "plots" / "Turns.png") as image:
        image.verify()


def test_nothing_is_drawn_without_a_folder(tmp_path: Path, caplog) -> None:
    workflow, _ = build(tmp_path, Bad)
    Launcher().run(workflow)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert list(tmp_path.glob("*.png")) == []


def test_a_picture_that_fails_is_told_once_and_changes_nothing(tmp_path: Path, caplog) -> None:
    ends = []
    for plots in (None, tmp_path / "plots"):
        workflow, taker = build(tmp_path / f"{plots is None}", Bad, Turns)
        Launcher(plots=plots).run(workflow)
        ends.append(workflow_state(restored(taker.last_location).workflow))
    assert differences(*ends) == []
    [warning] = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning == "Bad('Bad') draws nothing (KeyError: 4); the run goes on"
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["Turns.png"]


def test_a_plotter_without_a_picture_says_so() -> None:
    with pytest.raises(NotImplementedError):
        Plotter(Workflow()).picture()

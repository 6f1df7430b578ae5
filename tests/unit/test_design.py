"""What docs/design.md says of the code: its files are there, its floors are right, and tables that belong together agree."""

import re
from pathlib import Path

from runner.config.config import LossFunction
from runner.config.loading import LoaderConfig
from runner.nn.evaluators.loss_functions import EVALUATORS
from runner.nn.loading.loader_types import LOADERS
from tests.unit.test_imports import FLOORS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "design.md").read_text()


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:runner|tests|docs|conf)/[\w./]*)`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_rooms_stand_on_their_floors() -> None:
    rows = re.findall(r"^\| (\d) \| (.+?) \|", PAGE, re.MULTILINE)
    told = {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}
    held = {room: floor for floor, rooms in enumerate(FLOORS, 1) for room in rooms if not room.startswith("__")}
    assert told == held


def test_every_room_of_snapshots_is_told() -> None:
    folders = {path.parent.name for path in (ROOT / "runner" / "snapshots").glob("*/__init__.py")}
    assert set(re.findall(r"`snapshots/(\w+)`", PAGE)) == folders


def test_every_loss_can_be_configured() -> None:
    assert {loss.value for loss in LossFunction} == EVALUATORS.keys()


def test_every_loader_can_be_configured() -> None:
    assert LoaderConfig.NEEDS.keys() == {name for name, cls in LOADERS.items() if cls.__module__.startswith("runner.")}

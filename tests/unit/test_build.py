"""Workflows of one's own, as the configuration describes them."""

import enum
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from omegaconf import OmegaConf

from runner import build
from runner.config import Config
from runner.errors import ConfigError
from runner.graph import Workflow
from runner.nn import StandardWorkflow
from runner.snapshots.constructors import SnapshotterToFile
from tests.networks import LAYERS


class Simple(Workflow):
    def __init__(self, size: int, share: float = 0.5, *, label: str = "x", parts: Any = ()) -> None:
        super().__init__()
        self.size, self.share, self.label, self.parts = size, share, label, parts
        self.drawn = random.random()
        self.saver = SnapshotterToFile(self, directory="elsewhere", interval=7).link_from(self.start_point)
        self.end_point.link_from(self.saver)


class Further(Simple):
    def __init__(self, depth: int = 1, **settings: Any) -> None:
        super().__init__(**settings)
        self.depth = depth


class Net(StandardWorkflow):
    def __init__(self, name: str, *, width: int = 1, **settings: Any) -> None:
        super().__init__(name, **settings)
        self.width = width


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Size:
    width: int = 1


class Typed(Workflow):
    """Says of each argument what it is."""

    def __init__(
        self,
        *,
        maybe: int | None = None,
        either: int | str = 1,
        share: float | None = None,
        names: list[str] | None = None,
        pair: tuple[int, int] = (1, 2),
        counts: Mapping[str, int] | None = None,
        steps: Sequence[float] = (),
        kind: Literal["x", "y"] = "x",
        color: Color = Color.RED,
        optional: Optional[bool] = None,  # noqa: UP045
        path: Path | None = None,
        size: Size | None = None,
        sizes: Sequence[Size] = (),
        blob: bytes = b"",
        other: "Simple | None" = None,
    ) -> None:
        super().__init__()
        self.given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}


NETWORK = {"layers": {"out": LAYERS["out"]}}


def built(output_dir: Path | str = "out", *, target: str | None = f"{__name__}.Simple", **settings: Any) -> Any:
    """Builds a workflow; the settings are keys below `workflow`, or whole sections."""
    sections = {name: settings.pop(name) for name in list(settings) if name in OmegaConf.structured(Config)}
    workflow = {"name": None, "_target_": target} | settings
    return build.build(Config(workflow=workflow, **{"layers": {}, **sections}), name="mine", seed=3, output_dir=str(output_dir))


def test_keys_are_arguments_and_the_snapshotter_is_that_of_the_configuration(tmp_path: Path) -> None:
    workflow = built(tmp_path, size=3, share=1, parts=[1, {"a": 2}])
    assert (workflow.name, workflow.size, workflow.share, workflow.parts) == ("mine", 3, 1, [1, {"a": 2}])
    assert workflow.saver.settings.interval == 1
    assert workflow.saver.place == str(tmp_path)
    assert built(tmp_path, size=3, name="other").name == "other"


def test_the_seed_is_in_place_before_the_workflow_is_made() -> None:
    drawn = built(size=1).drawn
    random.random()
    assert built(size=1).drawn == drawn == random.Random(3).random()


def test_arguments_of_base_classes_that_are_passed_on_are_keys_too() -> None:
    workflow = built(target=f"{__name__}.Further", size=3, depth=2, label="y")
    assert (workflow.size, workflow.depth, workflow.label) == (3, 2, "y")
    net = built(target=f"{__name__}.Net", width=4, **NETWORK)
    assert (net.width, net.seed, net.name) == (4, 3, "mine")
    assert isinstance(built(target=None, **NETWORK), StandardWorkflow)


FITTING = {
    "maybe": [3, None],
    "either": [3, "x"],
    "share": [0.5, 1, None],
    "names": [["a", "b"], [], None],
    "counts": [{"a": 1}],
    "steps": [[1, 2.5]],
    "kind": ["y"],
    "optional": [True, None],
    "path": ["some/where"],
    "other": ["what nobody can say"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in FITTING.items() for value in values])
def test_values_that_fit_their_annotations_are_given(key: str, value: Any) -> None:
    assert built(target=f"{__name__}.Typed", **{key: value}).given[key] == value


def test_values_become_what_a_configuration_cannot_say() -> None:
    given = built(target=f"{__name__}.Typed", color="blue", pair=[3, 4]).given
    assert (given["color"], given["pair"]) == (Color.BLUE, (3, 4))


WRONG = {
    "maybe": ["x", 1.5, True, [1]],
    "either": [1.5, [1]],
    "share": ["abc", [1.0]],
    "names": ["q", [1], {"a": 1}],
    "pair": [[1], [1, "a"], 3],
    "counts": [{"a": "x"}, [1]],
    "steps": [["a"], 3],
    "kind": ["z", 3],
    "color": ["green", 3],
    "optional": [1, "true"],
    "blob": ["text", 3],
    "size": [{"width": "x"}, 3],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_values_that_do_not_fit_their_annotations_are_refused(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^workflow\.{key}=.*: expected .*") as raised:
        built(target=f"{__name__}.Typed", **{key: value})
    assert "\n" not in str(raised.value)


def test_a_mapping_becomes_a_dataclass_and_no_key_of_it_is_passed_over() -> None:
    assert built(target=f"{__name__}.Typed", size={"width": 3}).given["size"] == Size(3)
    for wrong in ({"size": {"widht": 3}}, {"sizes": [{"width": 1}, {"widht": 3}]}):
        with pytest.raises(ConfigError, match=r"^workflow\.sizes?=.*: 'widht' is not a key of it"):
            built(target=f"{__name__}.Typed", **wrong)


def test_what_does_not_fit_is_told_in_the_words_of_yaml() -> None:
    with pytest.raises(ConfigError, match="expected `list` of length 2"):
        built(target=f"{__name__}.Typed", pair=[1])


KNOWN = "known: label, parts, share, size"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 1, "sizes": 2}, f"'workflow.sizes' is not a key of Simple; did you mean 'size'. {KNOWN}"),
        ({}, "workflow.size is missing: Simple needs it"),
        ({"size": "3"}, "workflow.size='3' must be of type int"),
        ({"size": True}, "workflow.size=True must be of type int"),
        ({"size": 1, "share": "a"}, "workflow.share='a' must be of type float"),
        ({"target": "Simple"}, r"workflow._target_='Simple' must name a class with its module, such as my_module.Simple"),
        ({"target": "nope.Simple"}, r"the module 'nope' cannot be imported: ModuleNotFoundError: No module named 'nope'"),
        ({"target": f"{__name__}.Nope"}, f"the module '{__name__}' has no 'Nope'"),
        ({"target": f"{__name__}.NETWORK"}, "is not a subclass of runner.graph.workflow.Workflow"),
        ({"target": "os.system"}, "workflow._target_='os.system' is not a subclass of runner.graph.workflow.Workflow"),
        ({"size": 1, "layers": NETWORK["layers"]}, "layers is for a StandardWorkflow, which Simple is not"),
        (
            {"target": f"{__name__}.Further", "size": 1, "deep": 2},
            "'workflow.deep' is not a key of Further; did you mean 'depth'. known: depth,",
        ),
        (
            {"target": f"{__name__}.Net", "widht": 1, **NETWORK},
            "'workflow.widht' is not a key of Net; did you mean 'width'. known: width$",
        ),
        ({"target": None, "size": 1, **NETWORK}, "'workflow.size' is not a key of StandardWorkflow; known: none$"),
        ({"target": 3}, "workflow._target_=3 must be a text"),
    ],
)
def test_what_describes_no_workflow_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built(**settings)

"""The drawing of a workflow, as text and as Graphviz makes it."""

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from runner.errors import ConfigError
from runner.graph.drawing import COLOURS, FORMATS
from runner.nn import StandardWorkflow
from tests.networks import network
from tests.units import Holder, LoggedWorkflow, Plotter, chain

MAGIC = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF", ".dot": b"digraph", ".gv": b"digraph"}


@pytest.fixture
def workflow() -> LoggedWorkflow:
    workflow = LoggedWorkflow(name='say "<hi>"')
    a, b = Holder(workflow, "a & b", x=1, y=2), Holder(workflow, "Holder")
    chain(workflow, a, b)
    b.link_attrs(a, "x", ("mine", "x"), two_way=True).link_attrs(a, "y")
    Plotter(workflow, "plotter").link_from(a)
    return workflow


def svg_texts(path: Path) -> list[str]:
    return [element.text for element in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_control_and_attribute_links_are_told_apart(workflow) -> None:
    text = workflow.generate_graph()
    assert re.findall(r"u\d+ -> u\d+ \[color=.#333333", text) == [
        f'{edge} [color="#333333' for edge in ("u0 -> u2", "u2 -> u3", "u2 -> u4", "u3 -> u1")
    ]
    shared = re.findall(r"(u\d+ -> u\d+) \[.*style=dashed.*?(dir=both)?, label=(.*)\]", text)
    assert shared == [("u2 -> u3", "dir=both", r'"x\nx as mine"'), ("u2 -> u3", "", '"y"')]


def test_units_are_coloured_by_kind_and_named(workflow, tmp_path: Path) -> None:
    assert f'fillcolor="{COLOURS["plotter"]}"' in workflow.generate_graph()
    workflow.generate_graph(tmp_path / "graph.svg")
    texts = svg_texts(tmp_path / "graph.svg")
    workflow["plotter"].view_group = "of the user's own"
    assert 'fillcolor="white"' in workflow.generate_graph()
    assert {'say "<hi>"', "a & b", "Holder", "plotter", "x as mine"} <= set(texts)
    assert texts.count("Holder") == 2  # the class of `a & b`, and the unit that is called like its class


def test_every_kind_of_unit_of_the_standard_workflow_has_a_colour(tmp_path: Path) -> None:
    workflow: StandardWorkflow = network(tmp_path)
    groups = {unit.name: unit.view_group for unit in workflow.units}
    assert set(groups.values()) <= set(COLOURS)
    assert (groups["loader"], groups["fc1"], groups["evaluator"]) == ("loader", "worker", "evaluator")
    assert (groups["gd_fc1"], groups["snapshotter"], groups["end_point"]) == ("trainer", "service", "service")


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_is_drawn(suffix: str, workflow, tmp_path: Path) -> None:
    path = tmp_path / f"graph{suffix}"
    text = workflow.generate_graph(path)
    assert path.read_bytes().startswith(MAGIC[suffix])
    assert subprocess.run(["dot", "-Tcanon"], input=text, capture_output=True, text=True, check=True).stderr == ""


def test_an_unknown_format_is_refused(workflow, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no suffix of a format; known: \.dot, \.gv, \.pdf, \.png, \.svg"):
        workflow.generate_graph(tmp_path / "graph.bmp")
    with pytest.raises(ConfigError, match=r"cannot be written: No such file or directory"):
        workflow.generate_graph(tmp_path / "missing" / "graph.dot")


def test_without_graphviz_the_command_that_installs_it_is_named(workflow, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"apt-get install graphviz; graph=FILE\.dot needs nothing"):
        workflow.generate_graph(tmp_path / "graph.png")
    workflow.generate_graph(tmp_path / "graph.dot")

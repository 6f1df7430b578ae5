"""The floors of the house: imports lead down, in no circle, and a script that restores a snapshot loads no command line."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[2]
FLOORS = (
    (
        "errors",
        "checks",
        "flat",
        "places",
        "text",
        "shell",
        "misfits",
        "whole_file",
        "pickled",
        "signals",
        "cores",
        "passwords",
        "extras",
        "targets",
        "typed_arguments",
        "memory",
        "storages",
        "thread_pool",
    ),
    ("graph",),
    ("metrics", "parallel"),
    ("snapshots",),
    ("config", "datasets", "plots", "loggers"),
    ("nn",),
    ("launcher", "build", "report", "use"),
    ("cli", "__main__", "__init__"),
)
"""The rooms, from the ground up. A room imports from its own floor only within itself."""
MEETINGS = {("graph.unit", "graph.workflow"), ("launcher", "snapshots")}


def modules() -> dict[str, Path]:
    paths = (ROOT / "runner").rglob("*.py")
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


MODULES = modules()


def imported(path: Path) -> Iterator[str]:
    """Yields the modules of the package that one imports, where it runs: what is for type checkers alone does not count."""
    tree = ast.parse(path.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("runner") and id(node) not in guarded:
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield whole if whole in MODULES else str(node.module)


def graph() -> networkx.DiGraph:
    edges = ((name, other) for name, path in MODULES.items() for other in imported(path))
    return networkx.DiGraph((name, other) for name, other in edges if other in MODULES and other != name)


def floor(module: str) -> int:
    room = module.split(".")[1] if "." in module else "__init__"
    return next(number for number, rooms in enumerate(FLOORS) if room in rooms)


def test_every_room_has_a_floor() -> None:
    assert {name for name in MODULES if not any(name.split(".")[1:2] == [room] for rooms in FLOORS for room in rooms)} <= {
        "runner"
    }


def test_no_import_leads_up() -> None:
    up = [(name, other) for name, other in graph().edges if floor(other) > floor(name)]
    assert up == []


def test_no_circles_of_modules() -> None:
    circles = [circle for circle in networkx.strongly_connected_components(graph()) if len(circle) > 1]
    assert circles == []


@pytest.mark.parametrize("name", ["omegaconf", "hydra", "rich"])
def test_a_script_that_restores_needs_no_command_line(name: str) -> None:
    script = f"import sys; from runner import restore; assert {name!r} not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_no_circles_of_rooms() -> None:
    """Folders are rooms. The modules beside them, such as `errors` and `launcher`, have their floors."""
    edges = ((room(name), room(other)) for name, other in graph().edges)
    rooms = networkx.DiGraph((name, other) for name, other in edges if name != other and "runner" not in (name, other))
    assert [sorted(circle) for circle in networkx.strongly_connected_components(rooms) if len(circle) > 1] == []


def room(module: str) -> str:
    """Returns the folder of a module; a package is the room that it is."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def test_file_names_say_one_thing() -> None:
    names = [path.name for path in MODULES.values() if path.name != "__init__.py"]
    assert sorted({name for name in names if names.count(name) > 1}) == []

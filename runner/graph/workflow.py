"""A workflow: a graph of units, and a unit itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

from runner.errors import ConfigError, GraphError, SnapshotMismatchError, StateError
from runner.graph import drawing, order, random_state
from runner.graph.bool import Bool
from runner.graph.loop import Control
from runner.graph.outlook import Outlook
from runner.graph.restored_state import goes_on
from runner.graph.unit import Unit


class StartPoint(Unit):
    """Where a run of the workflow begins."""

    view_group = "service"


class EndPoint(Unit):
    """Where a run of the workflow ends."""

    view_group = "service"

    def run(self) -> None:
        assert self.workflow is not None
        self.workflow.control.finish()


class Repeater(Unit):
    """Where an iteration begins: it runs when any of the units it is linked from has passed control."""

    view_group = "service"

    def __init__(self, workflow: Workflow, name: str | None = None) -> None:
        super().__init__(workflow, name)
        self.ignores_gate = Bool(True)


class Workflow(Unit):
    """A graph of units that runs from `start_point` to `end_point`.

    It is pickled whole, with the states of its units side by side, where control stands in it, and, for the outermost
    workflow, the states of the global random generators (Python's, numpy's and torch's, where they are loaded).

    Args:
        workflow: the workflow that this one is a unit of, if any.
        name: the name of the workflow. Default: the class's name.

    A subclass that `veles-run` runs may override, as far as it has something to say: `current_step`, `outlook`, `progress`,
    `objective`, `summary`, `limit`, `override` and `evaluate`.
    """

    activity: ClassVar[str] = "Running"
    """What the first line of a run says that it does."""

    units: list[Unit]
    control: Control
    start_point: StartPoint
    end_point: EndPoint
    restored_: bool
    from_snapshot_: bool
    random_states_: dict[str, Any] | None
    launcher_: Any

    def __init__(self, workflow: Workflow | None = None, name: str | None = None) -> None:
        self.units = []
        self.control = Control()
        super().__init__(workflow, name)
        self.start_point = StartPoint(self, "start_point")
        self.end_point = EndPoint(self, "end_point")

    def init_unpickled(self) -> None:
        super().init_unpickled()
        self.restored_ = False
        self.from_snapshot_ = False
        self.random_states_ = None
        self.launcher_ = None

    def __getitem__(self, key: str | int) -> Unit:
        """Returns a unit by its name or its position.

        Raises:
            KeyError: no unit, or several, have that name.
        """
        if isinstance(key, int):
            return self.units[key]
        found = [unit for unit in self.units if unit.name == key]
        if len(found) != 1:
            names = ", ".join(repr(unit.name) for unit in self.units)
            raise KeyError(f"{len(found)} units of {self!r} are named {key!r}; it has {names}")
        return found[0]

    def __len__(self) -> int:
        return len(self.units)

    def __bool__(self) -> bool:
        return True

    def __getstate__(self) -> Any:
        random_states = None
        if self.workflow is None:
            # States that were restored are put in place when the run goes on; until then they are still the run's.
            random_states = self.random_states_ or random_state.get_states()
        return {
            # The shells come first: whatever refers to a unit afterwards finds it made already.
            "shells": self.units,
            "own": super().__getstate__(),
            "states": [_state_of(unit) for unit in self.units],
            "versions": [type(unit).version for unit in (self, *self.units)],
            "random_states": random_states,
        }

    def __setstate__(self, state: Any) -> None:
        overriding: dict[Unit, Any] = {}
        self._set_states(state, overriding)
        # What a class does in a `__setstate__` of its own may look at the other units.
        for unit, unit_state in overriding.items():
            unit.__setstate__(unit_state)
        self.init_unpickled()
        self.random_states_ = state["random_states"]
        self.restored_ = self.from_snapshot_ = True
        for unit in Workflow._all_units(self):
            if unit is not self and unit not in overriding:
                unit.init_unpickled()

    def _set_states(self, state: Any, overriding: dict[Unit, Any]) -> None:
        """Gives the workflow and all below it their states; collects those of units with a `__setstate__` of their own."""
        shells, (version, *versions) = state["shells"], state["versions"]
        if type(shells) is not list or not all(isinstance(unit, Unit) for unit in shells):
            raise GraphError(f"the state of a {type(self).__name__} has something other than units among its units")
        self.set_attributes(_upgraded(self, state["own"], version))
        for unit, unit_state, unit_version in zip(shells, state["states"], versions, strict=True):
            if type(unit).__setstate__ is Workflow.__setstate__:
                unit._set_states(unit_state, overriding)
            elif type(unit).__setstate__ is Unit.__setstate__:
                unit.set_attributes(_upgraded(unit, unit_state, unit_version))
            else:
                overriding[unit] = unit_state if isinstance(unit, Workflow) else _upgraded(unit, unit_state, unit_version)

    def _all_units(self) -> Iterator[Unit]:
        """Yields this workflow, its units, and the units of those that are workflows."""
        yield self
        for unit in self.units:
            if isinstance(unit, Workflow):
                yield from Workflow._all_units(unit)
            else:
                yield unit

    @property
    def restored_from_snapshot(self) -> bool:
        return self.outermost.restored_

    @property
    def launcher(self) -> Any:
        """The service that runs the outermost workflow, or None; it is in no snapshot."""
        return self.outermost.launcher_

    @property
    def outermost(self) -> Workflow:
        """The workflow around all others; a loop, since they may be nested as deep as one likes."""
        workflow = self
        while workflow.workflow is not None:
            workflow = workflow.workflow
        return workflow

    @property
    def units_in_dependency_order(self) -> list[Unit]:
        """The units, each after those it is linked from; within an iteration, from its repeater on."""
        return order.in_dependency_order(self.units)

    def generate_graph(self, path: str | Path | None = None) -> str:
        """Returns the graph in the DOT language of Graphviz, and draws it into a file if one is given.

        Args:
            path: the file, with a suffix from `runner.graph.drawing.FORMATS`, such as `.svg` or `.png`.

        Raises:
            ConfigError: the file cannot be written, or Graphviz is not installed.
        """
        if path is not None:
            drawing.write(self, Path(path))
        return drawing.dot(self)

    @property
    def current_step(self) -> tuple[str, int, int] | None:
        """What a progress bar shows: a description, the steps done, and the steps in all."""
        return None

    @property
    def outlook(self) -> Outlook | None:
        """What is shown beside the progress bar. Another thread asks for it while the workflow runs: nothing may change."""
        return None

    def progress(self) -> dict[str, Any]:
        """Returns what a snapshot's header says of the run: any of `epoch`, `iteration`, `complete` and `metrics`."""
        return {}

    def check_state(self) -> None:
        """Called before a snapshot is taken: raises an error if the state is one from which nobody should go on."""
        for unit in self.units:
            if isinstance(unit, Workflow):
                unit.check_state()

    @property
    def complete(self) -> bool:
        """Whether the run is over; otherwise it was stopped, or has not begun."""
        return not self.control.underway

    @property
    def objective(self) -> float | None:
        """What a sweep minimizes."""
        return None

    @property
    def measure(self) -> str | None:
        """What the objective measures: those of different measures are not compared. None if nobody can tell."""
        return None

    @property
    def summary(self) -> str | None:
        """What is said of the result when a run ends."""
        return None

    @property
    def limit(self) -> tuple[str, int] | None:
        """The key of the configuration that ends the run, and its value; a higher one extends a complete run."""
        return None

    @property
    def extension(self) -> dict[str, int]:
        """The keys of the configuration, with values, by which a complete run goes on for as long again."""
        return {} if self.limit is None else {self.limit[0]: 2 * self.limit[1]}

    @property
    def extension_note(self) -> str | None:
        """What has to be said of the extension, if anything: the keys may not be enough."""
        return None

    def evaluate(self) -> dict[str, float]:
        """Returns scores of what was restored, for `mode=evaluate`; the first is the one that matters.

        Raises:
            ConfigError: the workflow has none.
        """
        raise ConfigError(f"mode=evaluate: {self!r} has nothing to score")

    def as_model(self) -> Any:
        """Returns the network alone, as a `torch.nn.Module`, for `restore(...).model()`.

        Raises:
            ConfigError: the workflow has none.
        """
        raise ConfigError(f"{self!r} is no network, so there is no model of it")

    def scores_text(self, scores: Mapping[str, float]) -> str:
        """Returns scores as lines show them."""
        return ", ".join(f"{name} {score:g}" for name, score in scores.items())

    def choose_threads(self, asked: int | None) -> int | None:
        """Returns how many threads of the numerical library the initialized workflow runs with; None leaves it to the library.

        Args:
            asked: what the user asks for, if anything.
        """
        return asked

    def override(self, key: str, value: object) -> None:
        """Applies one changed key of the configuration to the restored workflow.

        Raises:
            ConfigError: the key cannot change after construction.
        """
        raise ConfigError(f"{key} cannot change on resume: it is as it was in the snapshot; leave it out")

    @goes_on
    def initialize(self) -> None:
        """Checks gates and demands, and initializes the units in dependency order."""
        units = self.units_in_dependency_order
        for unit in units:
            unit.check_gates()
            unit.check_demands()
        # What a restored one draws here is no part of its run.
        with nullcontext() if self.restored_ else self._own_random_states():
            for unit in units:
                unit.initialize()
        self.restored_ = False
        self._check_limit()

    def _check_limit(self) -> None:
        match self.limit:
            case None | (str(), Real()):
                pass
            case limit:
                name = type(self).__name__
                raise GraphError(f"{name}.limit gives {limit!r}: it is a key and its value, ('workflow.steps', 10), or None")

    @goes_on
    def run(self) -> None:
        """Runs from the start point, or goes on from where control stands, which after a restore is after the snapshotter."""
        with self._own_random_states(), ExitStack() as stack:
            if self.workflow is None:
                # Each unit finishes, whatever became of the run and of the others.
                for unit in reversed([*self._all_units()]):
                    stack.callback(unit.finish)
            self.control.run(self.start_point)

    @contextmanager
    def _own_random_states(self) -> Iterator[None]:
        """Has the global random generators in the run's states in the block, and then again in those that they had before.

        A workflow that has no states of its own draws from the generators as they are.
        """
        own, self.random_states_ = self.random_states_, None
        if own is None:
            yield
            return
        before = random_state.get_states()
        random_state.set_states(own)
        try:
            yield
        finally:
            self.random_states_ = random_state.get_states()
            random_state.set_states(before)

    def resume(self) -> None:
        if self.control.underway:
            self.run()

    @property
    def unfinished(self) -> bool:
        return self.control.underway

    def stop(self) -> None:
        """Stops after the running unit; `run()` goes on from there."""
        self.control.stop()
        for unit in self.units:
            unit.stop()


def _upgraded(unit: Unit, state: Any, version: object) -> Any:
    """Returns a unit's state as its class has it today."""
    today = type(unit).version
    if version == today:
        return state
    if type(version) is not int or type(state) is not dict or version > today:
        number = version if type(version) is int else f"of type {type(version).__name__}"
        raise SnapshotMismatchError(
            f"the state of {type(unit).__name__} has version {number}, and the class has {today}: run with newer code"
        )
    changed = unit.migrate(state, version)
    return state if changed is None else changed


def _state_of(unit: Unit) -> Any:
    """Returns the state of a unit.

    Raises:
        StateError: its class gives less than every unit has, and does not say how it comes back.
    """
    state: Any = unit.__getstate__()
    if type(unit).__setstate__ is Unit.__setstate__ and not (isinstance(state, dict) and "name" in state):
        raise StateError(
            f"{unit!r}: {type(unit).__name__}.__getstate__() gives {type(state).__name__} without the state of a unit:"
            " begin with state = super().__getstate__()"
        )
    return state

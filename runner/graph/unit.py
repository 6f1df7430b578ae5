"""A unit: the smallest part of a workflow that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from runner import pickled
from runner.checks import known
from runner.errors import ConfigError, DemandError, GraphError, LinkError, SnapshotMismatchError
from runner.graph.bool import Bool
from runner.graph.links import Link, Linked, install
from runner.graph.pickleable import Pickleable, check_names

if TYPE_CHECKING:
    from runner.graph.workflow import Workflow


class Unit(Pickleable):
    """A step of a workflow.

    Control links say when it runs: after *all* the units it is linked from have passed control. Attribute links say what
    it works on. `gate_block` true: it does not run and does not pass control on; `gate_skip` true: it does not run but
    passes control on; `ignores_gate` true: it runs when *any* of the units it is linked from has passed control.

    Args:
        workflow: the workflow that the unit belongs to.
        name: how messages, graphs and `workflow["name"]` call it. Default: the class's name.
    """

    callbacks: ClassVar[frozenset[str]] = frozenset()
    """The methods, without arguments, that a Bool in a snapshot may call."""

    adjustable: ClassVar[frozenset[str]] = frozenset()
    """The attributes that `reconfigure` may change after construction."""

    plotter: ClassVar[bool] = False
    """True for a unit that only draws: it may run in parallel with a snapshotter."""

    view_group: ClassVar[str] = "worker"
    """What kind of unit it is, which gives its color in drawings: one of `runner.graph.drawing.COLOURS`, else white."""

    followed_ = True
    """Whether attributes of other units may be linked to it; only of a new unit it is known that none are."""

    name: str
    workflow: Workflow | None
    predecessors: list[Unit]
    successors: list[Unit]
    demanded: list[str]
    gate_block: Linked[Bool]
    gate_skip: Linked[Bool]
    ignores_gate: Linked[Bool]

    def __init__(self, workflow: Workflow | None, name: str | None = None) -> None:
        if name is not None and not isinstance(name, str):
            raise GraphError(f"the name of a {type(self).__name__} is a text, not {name!r}")
        if workflow is not None and not isinstance(getattr(workflow, "units", None), list):
            raise GraphError(f"a {type(self).__name__} belongs to a workflow, and {workflow!r} is none")
        self.name = name or type(self).__name__
        self.workflow = workflow
        self.predecessors = []
        self.successors = []
        self.demanded = []
        self.gate_block = Bool(False)
        self.gate_skip = Bool(False)
        self.ignores_gate = Bool(False)
        self.followed_ = False
        super().__init__()
        if workflow is not None:
            workflow.units.append(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self).get('name')!r})"

    def __reduce_ex__(self, protocol: object) -> Any:
        # Units refer to one another, so their states in nested form would be as deep as the graph is long. A unit is
        # pickled as an empty shell, and its workflow brings the states of all, side by side.
        if self.workflow is None:
            return super().__reduce_ex__(2)
        return pickled.unit, (type(self), self.workflow)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | self.links()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.set_attributes(state)
        self.init_unpickled()

    def set_attributes(self, state: dict[str, Any]) -> None:
        """Puts a pickled state back, links included. `init_unpickled()` follows when all units have theirs.

        Raises:
            SnapshotRefusedError: the state hides something of the class.
            LinkError: a link leads to something other than a unit.
        """
        links = frozenset(name for name, value in state.items() if type(value) is Link) if type(state) is dict else frozenset()
        check_names(type(self), state, links=links)
        vars(self).update(state)
        for name, link in self.links().items():
            if not isinstance(link.source, Unit):
                raise LinkError(f"{type(self).__name__}.{name[:100]} is linked to a {type(link.source).__name__}, not a unit")
            install(self, name)

    def migrate(self, state: dict[str, Any], version: int) -> dict[str, Any] | None:
        """Brings the state of an older version of the class up to date; it may change it, or return another.

        Called before the state is set, when `version` of the class is higher than that of the snapshot.

        Args:
            state: what `__getstate__` returned then.
            version: the class's version then.

        Raises:
            SnapshotMismatchError: the class knows no older versions.
        """
        raise SnapshotMismatchError(
            f"{type(self).__name__} has version {type(self).version}, and its state in the snapshot has {version}: define"
            f" {type(self).__name__}.migrate(state, version)"
        )

    def missing_classes(self) -> list[str]:
        """Returns the full names of classes that the state names and the unit has not got since its restore.

        A snapshot may name a class, but not decide that it is imported. The restore calls `provide` for those that the call
        names, or that are declared as trusted.
        """
        return []

    def provide(self, name: str, cls: type) -> None:
        """Gives the unit one of its `missing_classes()`."""

    def missing_functions(self) -> list[str]:
        """Returns the full names of functions, or of classes to be made, that the state names and the unit has not got.

        They are called with what the state says, so the call has to name each of them: to trust their module is not enough.
        """
        return []

    def provide_function(self, name: str, function: Callable[..., Any]) -> None:
        """Gives the unit one of its `missing_functions()`."""

    @property
    def restored_from_snapshot(self) -> bool:
        """True from a restore until the main workflow's `initialize()` ends."""
        return self.workflow is not None and self.workflow.restored_from_snapshot

    def initialize(self) -> None:
        """Prepares for running; called once before the first run and once after every restore."""

    def run(self) -> None:
        """Does the unit's work."""

    def resume(self) -> None:
        """Finishes the run during which a snapshot was taken. Only a unit that runs others has anything to finish."""

    @property
    def unfinished(self) -> bool:
        """Whether `run()` has returned before its work was done. Only a unit that runs others may be stopped within it."""
        return False

    def stop(self) -> None:
        """Called when the workflow is stopped."""

    def finish(self) -> None:
        """Called when a run of the outermost workflow has ended or stopped: waits for what is still under way."""

    def reconfigure(self, **changes: object) -> None:
        """Changes settings after construction.

        Raises:
            ConfigError: a setting that is fixed when the unit is built.
        """
        self.check_adjustable(changes)
        for name, value in changes.items():
            setattr(self, name, value)

    def check_adjustable(self, names: Iterable[str]) -> None:
        """Raises a ConfigError for a setting that `reconfigure` may not change."""
        for name in names:
            if name not in self.adjustable:
                can = f"can change: {known(self.adjustable)}" if self.adjustable else "nothing of it can change"
                raise ConfigError(f"{name} of {self!r} is fixed once the unit is built ({can})")

    def link_from(self, *units: Unit | Iterable[Unit]) -> Unit:
        """Makes the unit run after the given ones; returns itself, so that chains read as one.

        Args:
            units: the units, or lists of them.

        Raises:
            LinkError: one of them is no unit, or is one that this one cannot run after.
        """
        for unit in _flat(self, units):
            self._check_follows(unit)
            if not self._runs_after(unit):
                self.predecessors.append(unit)
                unit.successors.append(self)
        return self

    def unlink_from(self, *units: Unit | Iterable[Unit]) -> Unit:
        """Takes control links from the given units away; returns itself, as `link_from` does."""
        for unit in _flat(self, units):
            if self._runs_after(unit):
                self.predecessors.remove(unit)
                unit.successors.remove(self)
        return self

    def _check_follows(self, unit: Unit) -> None:
        """Raises a LinkError if this unit can never run after another: it would wait for it, and nobody would say so."""
        workflow = self.workflow
        if unit is workflow:
            raise LinkError(f"{self!r} would run after its own workflow: link it from {workflow!r}.start_point")
        if workflow is not unit.workflow:
            raise LinkError(f"{self!r} and {unit!r} are units of two workflows: link the workflows themselves")
        if workflow is not None and (self is vars(workflow).get("start_point") or unit is vars(workflow).get("end_point")):
            raise LinkError(
                f"{self!r} cannot run after {unit!r}: a run begins with the start point, and ends with the end point"
            )

    def _runs_after(self, unit: Unit) -> bool:
        """Whether there is a link from the unit, which both have; thousands may lead into one unit, or out of it."""
        if len(unit.successors) < len(self.predecessors):
            return self in unit.successors
        return unit in self.predecessors

    def unlink_before(self) -> Unit:
        """Takes all incoming control links away."""
        return self.unlink_from(*self.predecessors)

    def unlink_after(self) -> Unit:
        """Takes all outgoing control links away."""
        for unit in list(self.successors):
            unit.unlink_from(self)
        return self

    def unlink_all(self) -> Unit:
        """Takes all control links away."""
        return self.unlink_before().unlink_after()

    def link_attrs(self, other: Unit, *names: str | tuple[str, str], two_way: bool = False) -> Unit:
        """Makes attributes of this unit stand for attributes of another.

        A mutable value is shared, an immutable one is followed, and a new value is seen at once.

        Args:
            other: the unit that holds the values.
            names: an attribute's name, or a pair (name here, name there).
            two_way: whether writing here writes there; otherwise writing here is an error.

        Raises:
            LinkError: the other is no unit, a name is none, a class computes the attribute, or the link would follow itself.
        """
        if not isinstance(other, Unit):
            raise LinkError(f"{self!r} links attributes to units, and {other!r} is none: no snapshot could restore the link")
        for mine, theirs in [_pair(self, name) for name in names]:
            if self._links_lead_back(other, theirs, mine):
                raise LinkError(f"{self!r}.{mine} would be linked to itself through {other!r}.{theirs}")
            install(self, mine)
            vars(self)[mine] = Link(other, theirs, two_way)
            other.followed_ = True
        return self

    def _links_lead_back(self, other: Unit, theirs: str, mine: str) -> bool:
        if not self.followed_ and other is not self:
            return False  # without a look at all links of a long chain, to whose end this one is added
        while (other, theirs) != (self, mine):
            link = vars(other).get(theirs)
            if not isinstance(link, Link):
                return False
            other, theirs = link.source, link.attribute
        return True

    def links(self) -> dict[str, Link]:
        """Returns the linked attributes by name."""
        return {name: value for name, value in vars(self).items() if type(value) is Link}

    def demand(self, *names: str) -> None:
        """Says that the attributes must be linked or set before `initialize()`."""
        self.demanded.extend(names)

    def check_demands(self) -> None:
        """Raises a DemandError for the first demanded attribute that is neither linked nor set."""
        for name in self.demanded:
            if type(vars(self).get(name)) is not Link and getattr(self, name, None) is None:
                raise DemandError(
                    f"{self!r} demands {name!r}, which is neither linked nor set: use link_attrs(unit, {name!r})",
                    name=name,
                    obj=self,
                )

    def check_gates(self) -> None:
        """Raises a GraphError for a gate that is no Bool: it would stay as it is, or be in no snapshot."""
        for name in GATES:
            if not isinstance(gate := getattr(self, name), Bool):
                raise GraphError(
                    f"{self!r}.{name} is {gate!r}, and a gate is a Bool: set it with <<=, or to an expression of Bools"
                )


GATES = ("gate_block", "gate_skip", "ignores_gate")
"""The attributes of a unit that say whether it runs."""


def _flat(target: Unit, units: Iterable[Unit | Iterable[Unit]]) -> list[Unit]:
    """Returns units, and those of lists of them, as one list; raises a LinkError if something else is among them."""
    flat: list[Any] = []
    for item in units:
        flat.extend(item if isinstance(item, list | tuple) else [item])
    for unit in (target, *flat):
        if not isinstance(unit, Unit):
            raise LinkError(f"{target!r} is linked from units, and {unit!r} is none")
        if "predecessors" not in vars(unit):
            name = type(unit).__name__
            raise GraphError(f"{name}.__init__() does not call super().__init__(workflow): it begins with that")
    return flat


def _pair(unit: Unit, name: Any) -> tuple[str, str]:
    """Returns the name here and the name there of a link."""
    pair = (name, name) if isinstance(name, str) else name
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) and part.isidentifier() for part in pair)):
        raise LinkError(f"{unit!r} links attributes by name or by (name here, name there), not by {name!r}")
    return pair

"""Snapshots of an attacker who knows our classes: nothing of them is called, obeyed, disclosed or unbounded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.errors import RunnerError
from runner.launcher import Launcher
from runner.snapshots.restoring.restore import restore
from tests.fuzz.bases import FOLDER, TRUSTED, flat, nested, tree_of
from tests.fuzz.nodes import Before, Filled, Global, Made, Tuple, write
from tests.fuzz.trial import written
from tests.networks import network

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Makes the trees of honest snapshots, each time anew."""
    here = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("bases"))
    workflows = {"flat": flat(), "nested": nested(), "network": network(Path(FOLDER))}
    steps = {"optimizer_config": {"_target_": "torch.optim.Adam", "lr": 0.1}}
    layers = {"lin": {"_target_": "torch.nn.Linear", "in_features": 6, "out_features": 6}, "out": {"type": "softmax"}}
    layers = {"flat": {"_target_": "torch.nn.Flatten"}} | layers
    workflows["torch"] = network(Path(FOLDER), layers=layers, **steps)
    for workflow in workflows.values():
        workflow.initialize()
        workflow.run()
    yield workflows
    os.chdir(here)


@pytest.fixture
def tree(bases: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    monkeypatch.chdir(tmp_path)
    return lambda name: tree_of(bases[name])


def state_of(tree: Any, name: str) -> dict[str, Any]:
    """Returns the state of the unit of that name, in any workflow of the tree."""
    waiting = [tree.parts[-1]]
    for state in waiting:
        if state["own"]["name"] == name:
            own: dict[str, Any] = state["own"]
            return own
        for unit_state in state["states"]:
            if "own" in unit_state:
                waiting.append(unit_state)
            elif unit_state["name"] == name:
                found: dict[str, Any] = unit_state
                return found
    raise KeyError(name)


def own(name: str) -> Made:
    return Made(b"R", Global("runner.pickled", "class_"), Tuple([name]))


def made(cls: Any, *arguments: Any, state: Any = None) -> Made:
    result = Made(b"\x81", cls, Tuple(list(arguments)))
    if state is not None:
        result.parts.append(state)
        result.stateful = True
    return result


def called(function: str, *arguments: Any, state: Any = None) -> Made:
    result = made(Global(*function.split(":")), *arguments, state=state)
    result.opcode = b"R"
    return result


def space(**values: Any) -> Made:
    return called("types:SimpleNamespace", state=values)


def unit(tree: Any, name: str) -> Any:
    """Returns the reference to a unit."""
    waiting = [tree.parts[-1]]
    for state in waiting:
        waiting += [unit_state for unit_state in state["states"] if "own" in unit_state]
        for shell, unit_state in zip(state["shells"], state["states"], strict=True):
            if unit_state.get("own", unit_state)["name"] == name:
                return shell
    raise KeyError(name)


MODULE = ("torch.utils.collect_env:run", "mkdir fired")
PARTIAL = called("functools:partial", own("Module"), state=Tuple([own("Module"), Tuple([None, "x"]), {"seed": 1}, None]))
CALLABLES: dict[str, Callable[[Any], Any]] = {
    "a partial of a class of ours": lambda tree: PARTIAL,
    "a partial of a function": lambda tree: called("functools:partial", Global("os", "mkdir"), "fired"),
    "a class of ours": lambda tree: own("Module"),
    "a function of the library": lambda tree: Global("torch.nn.functional", "relu"),
    "a bound method": lambda tree: called("builtins:getattr", unit(tree, "snapshotter"), "export"),
    "a class of torch": lambda tree: Global("torch.nn.modules.linear", "Linear"),
    "a method caller": lambda tree: called("operator:methodcaller", "export"),
    "a module of torch": lambda tree: identity(),
    "a callable in a list": lambda tree: [Tuple([{"x": PARTIAL}])],
    "a namespace of callables": lambda tree: space(clear=PARTIAL),
    "a namespace with a module": lambda tree: space(clear=identity()),
}


def identity() -> Made:
    names = ("_parameters", "_buffers", "_modules", "_backward_hooks", "_forward_hooks", "_forward_pre_hooks")
    return made(Global("torch.nn.modules.linear", "Identity"), state={"training": True, **{name: {} for name in names}})


def going_on(path: Path) -> Any:
    """Restores a snapshot and goes on with its run; returns the workflow."""
    restored = restore(path, trusted=TRUSTED)
    Launcher(device="cpu").run(restored.workflow)
    return restored.workflow


def refused(path: Path, match: str | None = None) -> None:
    """Checks that a snapshot is refused in one line, or ends so when it goes on, and leaves nothing behind."""
    before = {name for name in Path.cwd().rglob("*") if FOLDER not in str(name)}
    with pytest.raises(RunnerError, match=match) as caught:
        going_on(path)
    assert len(str(caught.value).splitlines()) == 1
    assert {name for name in Path.cwd().rglob("*") if FOLDER not in str(name)} == before


def attack(tree: Any) -> Path:
    return written(Path.cwd() / FOLDER, write(tree))


@pytest.mark.parametrize("what", CALLABLES)
@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("snapshotter", "runs"),
        ("snapshotter", "branch"),
        ("snapshotter", "settings"),
        ("snapshotter", "anything"),
        ("start_point", "run"),
        ("one", "gate_block"),
        ("flat", "control"),
        ("flat", "units"),
    ],
)
def test_nothing_can_be_called(tree: Callable[[str], Any], what: str, name: str, attribute: str) -> None:
    changed = tree("flat")
    state_of(changed, name)[attribute] = CALLABLES[what](changed)
    refused(attack(changed))


@pytest.mark.parametrize(
    "state", ["a defaultdict", "an OrderedDict", "a Counter", "a namespace", "a list", "keys that are no text"]
)
@pytest.mark.parametrize("whose", ["the workflow", "a unit", "its own"])
def test_only_plain_dicts_are_states(tree: Callable[[str], Any], state: str, whose: str) -> None:
    changed = tree("flat")
    before = {"the workflow": changed.parts[-1], "its own": changed.parts[-1]["own"], "a unit": state_of(changed, "one")}[whose]
    kinds = {
        "a defaultdict": called("collections:defaultdict", own("Module")),
        "an OrderedDict": called("collections:OrderedDict"),
        "a Counter": called("collections:Counter", {}),
        "a namespace": space(**before),
        "a list": [*before],
        "keys that are no text": before | {7: 1},
    }
    new = kinds[state]
    if state in ("a defaultdict", "an OrderedDict", "a Counter"):
        new.pairs.update(before)
    if whose == "the workflow":
        changed.parts[-1] = new
    elif whose == "its own":
        changed.parts[-1]["own"] = new
    else:
        states = changed.parts[-1]["states"]
        states[next(number for number, item in enumerate(states) if item is before)] = new
    if (whose, state) != ("the workflow", "keys that are no text"):
        refused(attack(changed))


HIDDEN = (
    "run",
    "initialize",
    "__setstate__",
    "__class__",
    "__dict__",
    "init_unpickled",
    "set_attributes",
    "links",
    "__reduce_ex__",
)
HIDDEN += ("store_", "key_", "launcher_", "restored_from_snapshot", "_no_such_", "callbacks_", "__getattr__")


@pytest.mark.parametrize("attribute", HIDDEN)
@pytest.mark.parametrize("name", ["snapshotter", "flat", "turn"])
def test_no_state_hides_a_method_nor_brings_what_is_made_again(tree: Callable[[str], Any], name: str, attribute: str) -> None:
    changed = tree("flat")
    state_of(changed, name)[attribute] = 5
    refused(attack(changed), "hides|which is in no snapshot")


@pytest.mark.parametrize("attribute", ["forward", "__reduce_ex__", "_call_impl", "to", "__class__"])
def test_no_state_of_a_module_hides_a_method(tree: Callable[[str], Any], attribute: str) -> None:
    for kind in ("a dict", "an OrderedDict"):
        changed = tree("torch")
        module = state_of(changed, "lin")["module"]
        module.parts[-1] = module.parts[-1] | {attribute: identity()}
        if kind == "an OrderedDict":
            ordered = called("collections:OrderedDict")
            ordered.pairs.update(module.parts[-1])
            module.parts[-1] = ordered
        refused(attack(changed))


@pytest.mark.parametrize("hooks", ["_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_load_state_dict_pre_hooks"])
def test_modules_have_no_hooks(tree: Callable[[str], Any], hooks: str) -> None:
    changed = tree("torch")
    state_of(changed, "lin")["module"].parts[-1][hooks] = {1: identity()}
    refused(attack(changed), "hooks")


def later(tree: Any, container: Any, pairs: dict[Any, Any]) -> None:
    """Fills a container when all states of units have been written."""
    state = tree.parts[-1]
    state["random_states"] = Before(Filled(container, pairs), state["random_states"])


@pytest.mark.parametrize("hooks", ["_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs"])
def test_what_was_checked_cannot_change_afterwards(tree: Callable[[str], Any], hooks: str) -> None:
    changed = tree("torch")
    state = state_of(changed, "lin")["module"].parts[-1]
    state[hooks] = called("collections:OrderedDict")
    later(changed, state[hooks], {1: identity()})
    later(changed, state["_parameters"], {"weight": identity()})
    module = restore(attack(changed), trusted=TRUSTED).workflow["lin"].module  # type: ignore[attr-defined]
    assert getattr(module, hooks) == {}
    assert [type(value).__name__ for value in module._parameters.values()] == ["Parameter", "Parameter"]


@pytest.mark.parametrize("hooks", ["_optimizer_step_pre_hooks", "_optimizer_step_post_hooks", "_optimizer_state_dict_hooks"])
def test_optimizers_have_no_hooks(tree: Callable[[str], Any], hooks: str) -> None:
    changed = tree("torch")
    state_of(changed, "optimizer")["optimizer"].parts[-1][hooks] = {1: identity()}
    refused(attack(changed), "hooks")


@pytest.mark.parametrize("when", ["before", "later"])
@pytest.mark.parametrize("value", [True, 1, "x"])
def test_fused_optimizers_write_no_further_than_a_parameter(tree: Callable[[str], Any], when: str, value: Any) -> None:
    """Torch's fused kernels take what an optimizer remembers for as large as the parameter."""
    changed = tree("torch")
    optimizer = state_of(changed, "optimizer")["optimizer"].parts[-1]
    group = optimizer["param_groups"][0]
    for kept in optimizer["state"].pairs.values():
        kept["exp_avg"] = state_of(changed, "lin")["module"].parts[-1]["_parameters"]["bias"]
    if when == "before":
        group["fused"] = value
        refused(attack(changed), "optimizer")
        return
    later(changed, group, {"fused": value})
    restored = restore(attack(changed), trusted=TRUSTED).workflow["optimizer"]  # type: ignore[attr-defined]
    assert not restored.optimizer.param_groups[0].get("fused")


def test_modules_that_hold_one_another_again_and_again_are_refused(tree: Callable[[str], Any]) -> None:
    changed = tree("torch")

    def sequence(*held: Any) -> Made:
        module = identity()
        module.parts[0] = Global("torch.nn.modules.container", "Sequential")
        module.parts[-1]["_modules"] = {str(number): item for number, item in enumerate(held)}
        return module

    module = identity()
    for _ in range(20):
        module = sequence(sequence(module), sequence(module))
    state_of(changed, "lin")["module"] = module
    refused(attack(changed), "modules")
    itself = sequence()
    itself.parts[-1]["_modules"]["0"] = itself
    state_of(changed, "lin")["module"] = itself
    refused(attack(changed), "module")


def expression(operator: Any, *sources: Any) -> Made:
    return made(own("Expression"), state=Tuple([Tuple([operator, Tuple(list(sources))]), None, None, []]))


def truth(value: Any = False, on_true: Any = None, followers: Any = None) -> Made:
    return made(own("Bool"), state=Tuple([value, on_true, None, [] if followers is None else followers]))


def doubled(depth: int) -> Made:
    gate = truth()
    for _ in range(depth):
        gate = expression("or", gate, gate)
    return gate


def follows_itself() -> Made:
    gate = expression("not", truth())
    gate.parts[-1].items[0].items[1] = Tuple([gate])
    return gate


def callback(tree: Any, name: str, method: Any) -> Made:
    return made(own("Callback"), unit(tree, name), method)


BOOLS: dict[str, Callable[[Any], Any]] = {
    "neither true nor false": lambda tree: truth(5),
    "of a callable": lambda tree: truth(PARTIAL),
    "calls a callable": lambda tree: truth(on_true=PARTIAL),
    "calls a module": lambda tree: truth(on_true=identity()),
    "calls a method that is not listed": lambda tree: truth(on_true=callback(tree, "snapshotter", "export")),
    "calls a method of a method": lambda tree: truth(on_true=callback(tree, "turn", "notice.__call__")),
    "calls what is no text": lambda tree: truth(on_true=callback(tree, "turn", b"notice")),
    "calls a method of no unit": lambda tree: truth(on_true=made(own("Callback"), space(notice=1), "notice")),
    "followers that are none": lambda tree: truth(followers=[truth()]),
    "followers that are no list": lambda tree: truth(followers={"a": 1}),
    "too many followers": lambda tree: truth(followers=[doubled(16)] * 100),
    "takes for ever": lambda tree: doubled(60),
    "holds itself": lambda tree: follows_itself(),
    "an unknown operator": lambda tree: expression("nand", truth(), truth()),
    "too few operands": lambda tree: expression("and", truth()),
    "operands that are none": lambda tree: expression("not", unit(tree, "turn")),
    "an operator that is none": lambda tree: expression(Tuple([]), truth()),
}


@pytest.mark.parametrize("what", BOOLS)
@pytest.mark.parametrize("attribute", ["gate_block", "done"])
def test_gates_are_plain_and_quick(tree: Callable[[str], Any], what: str, attribute: str) -> None:
    changed = tree("flat")
    state_of(changed, "turn")[attribute] = BOOLS[what](changed)
    refused(attack(changed), "Bool|operand|Turn|calls|partial|Callback")


def test_callbacks_of_units_are_restored(tree: Callable[[str], Any]) -> None:
    changed = tree("nested")
    workflow = going_on(attack(changed))
    assert workflow["turn"].seen > 0


LINKS: list[tuple[str, str, str, Any, bool]] = [
    ("snapshotter", "store_", "one", "y", True),
    ("snapshotter", "key_", "one", "y", False),
    ("snapshotter", "settings", "one", "y", True),
    ("snapshotter", "suffix", "snapshotter", "suffix", False),
    ("snapshotter", "suffix", "one", "run", False),
    ("snapshotter", "suffix", "one", "__class__", False),
    ("snapshotter", "suffix", "one", 7, False),
    ("one", "anything_", "snapshotter", "store_", True),
    ("flat", "launcher_", "one", "y", True),
    ("flat", "random_states_", "one", "y", True),
    ("flat", "control", "one", "y", True),
]


@pytest.mark.parametrize(("name", "attribute", "source", "read", "two_way"), LINKS)
def test_links_lead_to_attributes_alone(
    tree: Callable[[str], Any], name: str, attribute: str, source: str, read: Any, two_way: bool
) -> None:
    changed = tree("flat")
    state_of(changed, name)[attribute] = made(own("Link"), unit(changed, source), read, two_way)
    refused(attack(changed))


@pytest.mark.parametrize("attribute", ["on_signal", "compression", "keep_best"])
def test_only_units_have_links(tree: Callable[[str], Any], attribute: str) -> None:
    changed = tree("flat")
    state_of(changed, "snapshotter")["settings"].parts[-1][attribute] = made(own("Link"), unit(changed, "one"), "y", False)
    refused(attack(changed), f"{attribute} is a Link")


def test_links_lead_to_units_of_the_workflow_alone(tree: Callable[[str], Any]) -> None:
    changed, other = tree("flat"), tree("nested")
    for source in (
        space(y=1),
        identity(),
        None,
        "one",
        unit(other, "turn"),
        other,
        called("runner.pickled:unit", own("Unit"), other),
    ):
        state_of(changed, "snapshotter")["suffix"] = made(own("Link"), source, "name", False)
        refused(attack(changed))


@pytest.mark.parametrize(
    "place", ["/elsewhere", "../elsewhere", "odbc://x", "odbc://DRIVER=x.so", "http://x", "${oc.env:HOME}", "a\0b"]
)
@pytest.mark.parametrize("base", ["flat", "nested"])
def test_no_snapshotter_goes_on_elsewhere(tree: Callable[[str], Any], base: str, place: str) -> None:
    """Also that of a workflow in a workflow in a workflow."""
    changed = tree(base)
    state_of(changed, "snapshotter")["place"] = place
    refused(attack(changed), "snapshotter|directory|odbc")


@pytest.mark.parametrize("where", ["ready", "passed", "current"])
@pytest.mark.parametrize(
    "what", ["a unit of another workflow", "a unit in a workflow of this one", "a namespace", "a hidden unit"]
)
def test_control_stands_at_units_of_its_workflow(tree: Callable[[str], Any], where: str, what: str) -> None:
    changed = tree("nested")
    other = {
        "a unit of another workflow": lambda: unit(tree("flat"), "snapshotter"),
        "a unit in a workflow of this one": lambda: unit(changed, "snapshotter"),
        "a namespace": lambda: space(run=PARTIAL),
        "a hidden unit": lambda: called("runner.pickled:unit", own("Snapshotter"), changed),
    }[what]()
    slots = state_of(changed, "outer")["control"].parts[-1].items[1]
    ready = called("collections:deque")
    ready.items.append(other)
    slots[where] = {"ready": ready, "passed": {other: []}, "current": other}[where]
    refused(attack(changed))


@pytest.mark.parametrize("name", ["a." * 10_000, "a" * 201, 5, b"x"])
def test_loggers_have_short_names(tree: Callable[[str], Any], name: Any) -> None:
    """The registry keeps an entry for each dot, of all that stands before it: 40 kB of a name are 400 MB."""
    changed = tree("flat")
    state_of(changed, "one")["y"] = called("logging:getLogger", name)
    refused(attack(changed), "logger")


@pytest.mark.parametrize(
    ("policy", "parameters"),
    [
        ("exp", {"gamma": 1 << 62}),
        ("step_exp", {"gamma": 1 << 62, "step": 1}),
        ("inv", {"gamma": 1 << 62, "power": -(1 << 62)}),
        ("exp", {"gamma": [1]}),
        ("exp", {"no_such": 1}),
        ("no_such", {}),
        ("arbitrary_step", {"lrs_with_lengths": []}),
    ],
)
def test_policies_count_in_fractions(tree: Callable[[str], Any], policy: str, parameters: dict[str, Any]) -> None:
    """Integers would grow without a limit."""
    changed = tree("network")
    adjuster = state_of(changed, "lr_adjuster")
    adjuster["policy"], adjuster["parameters"] = policy, parameters
    state_of(changed, "loader")["epoch_number"] = 1 << 62
    refused(attack(changed), "LearningRateAdjuster|lr_adjuster")


@pytest.mark.parametrize("name", ["weights", "bias"])
@pytest.mark.parametrize("how", ["short", "another type", "expanded", "none"])
def test_weights_are_those_of_the_layer(tree: Callable[[str], Any], name: str, how: str) -> None:
    changed = tree("network")
    state = state_of(changed, "fc1")
    arguments = state[name].parts[1].items
    match how:
        case "short":
            arguments[3] = Tuple([1] * len(arguments[3].items))
        case "another type":
            arguments[1] = "int32"
        case "expanded":
            arguments[3] = Tuple([10**9] + [10**9] * (len(arguments[3].items) - 1))
            arguments[4] = Tuple([0] * len(arguments[4].items))
        case _:
            state[name] = state["stream"]
    refused(attack(changed), "fc1|All2All")


def test_a_state_that_lacks_something_is_refused(tree: Callable[[str], Any]) -> None:
    changed = tree("network")
    for name in ("snapshotter", "decision", "fc1", "gd_out", "lr_adjuster", "blobs"):
        state = state_of(changed, name)
        for attribute in [key for key in state if type(state[key]) is not Made or "Link" not in str(state[key].parts[0])][:8]:
            kept = state.pop(attribute)
            refused(attack(changed))
            state[attribute] = kept


def test_plain_values_stand_beside_modules(tree: Callable[[str], Any]) -> None:
    changed = tree("torch")
    shared = [1, {"a": (2.0, None)}]
    shared[1] = {"a": Tuple([2.0, None])}
    state_of(changed, "start_point")["kept"] = [shared, shared, {"x", "y"}, space(z=shared)]
    assert going_on(attack(changed))["start_point"].kept[3].z == [1, {"a": (2.0, None)}]

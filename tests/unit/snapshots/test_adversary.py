"""Attacks that once succeeded, each with what lies next to it."""

import copyreg
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from runner.cli import authority
from runner.errors import ConfigError, SnapshotRefusedError, StateError
from runner.graph import Workflow
from runner.snapshots.restoring.grants import folder_is_granted
from runner.snapshots.unpickling.allowed import Allowed
from runner.snapshots.unpickling.soundness import check_sound
from runner.snapshots.unpickling.unpickler import Unpickler
from tests.hostile.assemble import (
    BUILD,
    EMPTY_DICT,
    EMPTY_TUPLE,
    MEMOIZE,
    NONE,
    call,
    listed,
    mapping,
    named,
    number,
    pair,
    tensor,
    text,
    whole,
)
from tests.own import Bound, Doubler
from tests.placing import placed
from tests.workflows import holding, restored

ENDLESS = call("builtins:range", number(0), number(10**15), number(1))
RECURRENT = (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)


def load(data: bytes) -> Any:
    return Unpickler(placed(data), Allowed()).load()


def refused(body: bytes, message: str) -> None:
    with pytest.raises(SnapshotRefusedError, match=message):
        load(whole(body))


@pytest.mark.parametrize("version", [2, 3])
def test_a_random_generator_is_no_endless_sequence(version: int) -> None:
    refused(call("random:Random") + MEMOIZE + pair(number(version), ENDLESS, NONE) + BUILD, "state of a Random")
    plain = random.Random(3)
    assert load(pickle.dumps(plain, 5)).random() == plain.random()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RAdam", "Adagrad", "Rprop"])
@pytest.mark.parametrize("groups", [ENDLESS, listed(ENDLESS), listed(mapping(params=ENDLESS)), EMPTY_DICT, NONE])
def test_an_optimizer_has_no_endless_parameters(name: str, groups: bytes) -> None:
    cls = getattr(torch.optim, name)
    made = named(f"{cls.__module__}:{name}") + EMPTY_TUPLE + b"\x81" + MEMOIZE
    refused(made + mapping(defaults=EMPTY_DICT, state=EMPTY_DICT, param_groups=groups) + BUILD, "an optimizer")


class Altered:
    """Pickles as a module of torch with another state."""

    def __init__(self, module: torch.nn.Module, change: Callable[[dict[str, Any]], object]) -> None:
        self.cls = type(module)
        state: dict[str, Any] = module.__getstate__()  # type: ignore[operator]
        self.state = {name: value.copy() if isinstance(value, dict | list) else value for name, value in state.items()}
        change(self.state)

    __class__ = property(lambda self: self.cls)  # type: ignore[assignment]

    def __reduce_ex__(self, protocol: object) -> Any:
        return copyreg.__newobj__, (self.cls,), self.state  # type: ignore[attr-defined]


def weight(name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Callable[[dict[str, Any]], object]:
    made = torch.nn.Parameter(torch.zeros(shape, dtype=dtype), requires_grad=False)

    def change(state: dict[str, Any]) -> None:
        state["_parameters"][name] = made
        state["_flat_weights"][state["_flat_weights_names"].index(name)] = made

    return change


@pytest.mark.parametrize("cls", RECURRENT)
@pytest.mark.parametrize(
    "change",
    [
        *(weight("weight_ih_l0", *shape) for shape in ((1,), (32, 1), (0, 4))),
        *(weight("weight_hh_l0", *shape) for shape in ((1, 8), (32, 0), (2, 2, 2))),
        weight("bias_ih_l0", 1),
        weight("bias_hh_l0", 32, dtype=torch.int8),
        lambda state: state["_flat_weights"].pop(),
        lambda state: state["_flat_weights"].reverse(),
        lambda state: state["_flat_weights_names"].reverse(),
        lambda state: state["_parameters"].pop("bias_hh_l0"),
        *(
            lambda state, name=name, value=value: state.update({name: value})
            for name, value in (("hidden_size", 0), ("hidden_size", 10**6), ("num_layers", 9_000), ("num_layers", 0))
        ),
        *(
            lambda state, name=name, value=value: state.update({name: value})
            for name, value in (("proj_size", 3), ("bias", False), ("bidirectional", True), ("input_size", 9))
        ),
    ],
)
def test_kernels_of_recurrent_modules_read_only_their_weights(cls: Any, change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(SnapshotRefusedError, match="a recurrent module"):
        load(pickle.dumps(Altered(cls(4, 8), change), 5))


@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("cls", RECURRENT)
def test_recurrent_modules_come_back(cls: Any, options: dict[str, Any]) -> None:
    module, samples = cls(4, 8, **options), torch.ones(2, 3, 4)
    assert torch.equal(load(pickle.dumps(module, 5))(samples)[0], module(samples)[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_projections_come_back() -> None:
    module, samples = torch.nn.LSTM(4, 8, 2, proj_size=3, bidirectional=True), torch.ones(2, 3, 4)
    assert torch.equal(load(pickle.dumps(module, 5))(samples)[0], module(samples)[0])


@pytest.mark.parametrize("heads", [0, -1, 2.0, None])
def test_an_attention_has_heads(heads: Any) -> None:
    with pytest.raises(SnapshotRefusedError, match="an attention has no heads"):
        load(pickle.dumps(Altered(torch.nn.MultiheadAttention(8, 2), lambda state: state.update(num_heads=heads)), 5))


@pytest.mark.parametrize("layout", ["torch.sparse_bsr", "torch.sparse_bsc"])
@pytest.mark.parametrize("shape", [(0, 0, 0), (0, 2, 0), (0, 0, 2)])
def test_a_sparse_tensor_has_no_empty_blocks(layout: str, shape: tuple[int, int, int]) -> None:
    storage = call("runner.pickled:storage", text("").replace(b"\x8c", b"C"), text("cpu"))
    flags = pair(*map(number, shape)), pair(number(0), number(0), number(0)), b"\x89", b"\x89"
    values = call("runner.pickled:tensor", storage, text("float32"), number(0), *flags)
    parts = pair(tensor(bytes(16), 2, dtype="int64"), tensor(b"", 0, dtype="int64"), values, pair(number(1), number(3)))
    refused(call("torch._utils:_rebuild_sparse_tensor", call("torch.serialization:_get_layout", text(layout)), parts), "blocks")


SECRET = "${oc.env:SECRET}"


def obeyed(stored: dict[str, Any], call: dict[str, Any], *typed: str) -> dict[str, Any]:
    return authority.obeyed(stored, OmegaConf.create(call), typed, "x.5.pickle")


def test_what_this_call_reads_is_not_to_be_had_under_another_key() -> None:
    stored = {"snapshotter": {"prefix": "${workflow.token}"}, "workflow": {"token": None}}
    assert obeyed(stored, {"workflow": {"token": "plain"}}, "workflow.token") == stored
    with pytest.raises(ConfigError, match=r"snapshotter\.prefix='\$\{workflow\.token\}'"):
        obeyed(stored, {"workflow": {"token": SECRET}}, "workflow.token")
    assert obeyed(stored, {"workflow": {"token": SECRET}, "snapshotter": {"prefix": "${workflow.token}"}}) == stored


def test_a_list_that_was_typed_over_takes_all_its_references_along() -> None:
    stored = {"workflow": {"tokens": [SECRET, {"deep": SECRET}, 3], "name": "x"}}
    assert obeyed(stored, {"workflow": {"tokens": [1]}}, "workflow.tokens") == {"workflow": {"name": "x"}}


@pytest.mark.parametrize(
    "stored", [{"a": {"b": SECRET}, "a.b": "x"}, {"a.b": SECRET, "a": {"b": "x"}}, {"a": [SECRET], "a.0": 1}]
)
def test_no_key_hides_another(stored: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="reads the environment"):
        obeyed({"workflow": stored}, {})
    taken = obeyed({"workflow": stored}, {}, "workflow.a")["workflow"]
    assert SECRET not in str(taken)


@pytest.mark.parametrize("name", ["x;touch evil;y", "$(touch evil)", "a b", "restore.trust=full", "", "'", "a\nb", "\x1b[2J"])
def test_a_command_to_paste_has_nothing_in_it_that_was_not_meant(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        obeyed({"workflow": {name: SECRET}}, {})
    assert "confirm" not in str(caught.value)
    assert repr(f"workflow.{name}") in str(caught.value)


def hiding(value: Any, name: str) -> Any:
    vars(value)[name] = 1
    return value


@pytest.mark.parametrize(
    "value",
    [
        lambda: Workflow(name="another"),
        lambda: Doubler(Workflow(name="another"), "unit"),
        lambda: [Doubler(Workflow(name="another"), "unit")],
        lambda: hiding(Bound(1), "call"),
        lambda: hiding(Bound(1), "__x__"),
        lambda: np.dtype("int32", metadata={"a": 1}),
    ],
)
def test_what_no_restore_takes_is_said_when_it_is_captured(tmp_path: Path, value: Callable[[], Any]) -> None:
    _, _, snapshotter = holding(value(), tmp_path)
    snapshotter.export()
    with pytest.raises(StateError):
        snapshotter.finish()
    with pytest.raises(SnapshotRefusedError):
        restored(snapshotter.last_location)


def test_links_and_names_that_no_restore_takes_are_said(tmp_path: Path) -> None:
    def link_elsewhere(holder: Any) -> None:
        other = Workflow(name="another")
        other.x = 1
        holder.link_attrs(other, ("y", "x"))

    changes: list[Callable[[Any], object]] = [
        link_elsewhere,
        lambda holder: holder.link_attrs(holder.workflow, ("y", "__doc__")),
        lambda holder: hiding(holder, "run"),
    ]
    for number_of, change in enumerate(changes):
        _, holder, snapshotter = holding(None, tmp_path / str(number_of))
        change(holder)
        snapshotter.export()
        with pytest.raises(StateError):
            snapshotter.finish()
        with pytest.raises(SnapshotRefusedError):
            restored(snapshotter.last_location)


def test_not_all_folders_are_below_the_current_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir("/")
    assert not folder_is_granted("/etc", str(tmp_path))
    assert not folder_is_granted("etc", str(tmp_path))
    assert folder_is_granted(str(tmp_path), str(tmp_path))


def test_a_restore_by_hand_may_be_the_first_to_import_torch() -> None:
    """Errors that its modules have caught while they were imported hold what stood on the stack."""
    stored = sorted((Path(__file__).parents[2] / "stored").glob("**/*.pickle*"))[0]
    script = f"from runner import restore; import sys; assert 'torch' not in sys.modules; restore({str(stored)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_workflow_that_is_in_itself_is_refused() -> None:
    """Whoever looks for the outermost workflow would never come to an end."""
    outer = Workflow(name="outer")
    inner = Workflow(outer, "inner")
    check_sound(inner, [])
    outer.workflow = inner
    for workflow in (outer, inner):
        with pytest.raises(SnapshotRefusedError, match="a workflow is in something other than a workflow, or in itself"):
            check_sound(workflow, [])

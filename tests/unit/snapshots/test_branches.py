"""Branches of the restoring that no other test of pickles takes."""

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from runner.errors import SnapshotMismatchError, SnapshotRefusedError, StateError
from runner.memory import resident
from runner.snapshots.capture.pickler import StatePickler
from runner.snapshots.codecs.budget import Budget
from runner.snapshots.format.placing import BLOCK
from runner.snapshots.restoring.trust import Policy
from runner.snapshots.unpickling.allowed import Allowed, key_budget
from runner.snapshots.unpickling.unpickler import Unpickler
from tests import own
from tests.hostile.assemble import (
    BUILD,
    EMPTY_DICT,
    EMPTY_SET,
    MARK,
    MEMOIZE,
    NONE,
    POP,
    call,
    data,
    dtype,
    empty_array,
    instance,
    listed,
    mapping,
    named,
    number,
    pair,
    text,
    whole,
)
from tests.placing import placed
from tests.workflows import holding


def load(content: bytes, budget: Budget | None = None, **renamed: str) -> Any:
    allowed = Allowed(("tests.own",), {f"tests.own.{old}": f"tests.own.{new}" for old, new in renamed.items()})
    return Unpickler(placed(content), allowed, budget).load()


def refuses(body: bytes, match: str) -> None:
    with pytest.raises(SnapshotRefusedError, match=match):
        load(whole(body))


def dumped(value: Any) -> bytes:
    buffer = io.BytesIO()
    StatePickler(buffer).dump(value)
    return buffer.getvalue()


def object_array(item: bytes) -> bytes:
    return empty_array() + pair(number(1), pair(number(1)), dtype("O8"), b"\x89", listed(item)) + BUILD


def test_classes() -> None:
    assert type(load(whole(named("tests.own:Before") + b")\x81" + mapping(x=NONE) + BUILD), Before="Plain")) is own.Plain
    with pytest.raises(SnapshotMismatchError, match="FileStore"):
        load(whole(call("runner.pickled:class_", text("FileStore"))))
    refuses(call("runner.pickled:class_", number(1)), "not text")
    refuses(call("datetime:datetime", data(bytes(10)), instance("Plain")), "TypeError")


def test_sets_of_texts() -> None:
    assert load(whole(EMPTY_SET + MARK + text("a") + text("b") + b"\x90")) == {"a", "b"}


def test_keys() -> None:
    """Numbers that have the same hash, that are large, or that are the same thousand again and again."""
    decimals = b"".join(call("decimal:Decimal", text(str(factor * (2**61 - 1)))) + NONE for factor in range(1, 70))
    refuses(EMPTY_DICT + MARK + decimals + b"u", "the same hash")
    refuses(EMPTY_DICT + number(1 << 100) + NONE + b"s", "more than 64 bits")
    thousand = pair(*[NONE] * 999) + MEMOIZE + POP
    mappings = (EMPTY_DICT + MARK + (b"h\0" + NONE) * 60 + b"u" + POP) * 20
    refuses(thousand + mappings + NONE, "more objects than it has bytes")


@pytest.mark.parametrize("make", [dict.fromkeys, set, frozenset])
def test_hash_tables_have_a_budget_of_time(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Here, any keys take too long. Sets look at ten slots in a row, so that numbers that meet there are hard to make."""
    monkeypatch.setattr(key_budget, "FREE_SECONDS", 0.0)
    monkeypatch.setattr(key_budget, "SECONDS_OF_KEY", 1e-9)
    with pytest.raises(SnapshotRefusedError, match="chosen to meet"):
        load(dumped(make(range(10_000))))


def test_arrays_of_objects_in_one_another() -> None:
    array = load(whole(object_array(object_array(number(7)))))
    assert array[0][0] == 7
    refuses(empty_array() + MEMOIZE + POP + object_array(b"h\x03"), "without a state|takes more|wrong")
    nested = NONE
    for _ in range(40):
        nested = object_array(nested)
    refuses(nested, "nested more than 32 deep")


def test_fused_optimizers() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = torch.optim.Adam([parameter], lr=0.1, fused=True)
    parameter.grad = torch.ones(2, 3)
    optimizer.step()
    restored = load(dumped(optimizer))
    assert restored.param_groups[0]["fused"] is True
    (state,) = restored.state.values()
    assert torch.equal(state["exp_avg"], optimizer.state[parameter]["exp_avg"])


@pytest.mark.parametrize("size", [1, BLOCK + 1, 1 << 50, (1 << 64) - 1])
@pytest.mark.parametrize("what", ["runner.pickled:storage", "numpy:dtype"])
def test_a_buffer_is_not_believed_to_have_the_bytes_that_it_claims(what: str, size: int) -> None:
    body = named(what) + MARK
    frame = b"\x80\x05\x95" + struct.pack("<Q", len(body)) + body
    before = resident()
    with pytest.raises(SnapshotRefusedError, match=rf"it ends within {size} bytes that it claims"):
        load(frame + b"\x96" + struct.pack("<Q", size), Budget())
    assert resident() - before < 2 * BLOCK


def test_what_a_unit_names_is_looked_up_in_trusted_modules(tmp_path: Path) -> None:
    assert Policy(trusted=["tests.own"]).class_named("tests.own.Plain") is own.Plain
    assert Policy().class_named("tests.own.Plain") is None


def test_a_function_that_a_unit_names_is_looked_up_only_if_it_is_trusted_itself() -> None:
    assert Policy(trusted=["tests.own.scaled"]).function_named("tests.own.scaled") is own.scaled
    assert Policy(trusted=["tests.own", "tests"]).function_named("tests.own.scaled") is None
    with pytest.raises(SnapshotMismatchError, match="no 'gone'"):
        Policy(trusted=["tests.own.gone"]).function_named("tests.own.gone")


@pytest.mark.parametrize(("name", "hides"), [("x", False), ("forward", True)])
def test_a_capture_looks_at_the_names_of_a_module_of_ones_own(tmp_path: Path, name: str, hides: bool) -> None:
    module = own.Net()
    module.__dict__[name] = 1
    _, _, snapshotter = holding(module, tmp_path, on_unrestorable="raise")
    snapshotter.export()
    with pytest.raises(StateError, match="forward") if hides else nullcontext():
        snapshotter.finish()


def test_libraries_that_are_not_loaded_stay_so() -> None:
    code = "import sys, runner.snapshots.unpickling.allowed; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0

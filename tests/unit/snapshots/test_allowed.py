"""Names, calls and states at the edges of what is allowed."""

import collections
import pathlib
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch

from runner import pickled
from runner.errors import ConfigError, SnapshotMismatchError, SnapshotRefusedError
from runner.graph import Workflow
from runner.graph.links import Link
from runner.snapshots.unpickling.allowed import Allowed
from runner.snapshots.unpickling.unpickler import Unpickler
from tests import own
from tests.canonical import canonical
from tests.hostile.assemble import (
    EMPTY_DICT,
    EMPTY_TUPLE,
    MEMOIZE,
    NONE,
    call,
    framed,
    instance,
    mapping,
    named,
    number,
    text,
    whole,
)
from tests.objects import CALLABLES, NUMPY, PLAIN, TORCH
from tests.placing import placed
from tests.unit.snapshots.test_unpickler import dumps, loads

UNTYPED = (
    *(
        "torch untyped storage",
        "torch tensor of torch.float4",
        "torch tensor of torch.float8",
        "torch tensor of torch.complex32",
    ),
    *("torch tensor of torch.uint16", "torch tensor of torch.uint32", "torch tensor of torch.uint64"),
)


@pytest.mark.parametrize("name", [name for name in (*PLAIN, *NUMPY, *TORCH) if not name.startswith(UNTYPED)])
def test_pickles_of_pythons_own_pickler_are_equal(name: str) -> None:
    """torch's own form nests a pickle in each tensor; for its newer types torch cannot load that as weights alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = pickle.dumps(TORCH[name]() if name in TORCH else {**PLAIN, **NUMPY}[name](), 5)
        assert canonical(loads(data)) == canonical(pickle.loads(data))


def test_torchs_own_form_of_tensors() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.label = "x"
    conjugate = torch.tensor([1 + 2j]).conj()
    for value in (parameter, torch.nn.Buffer(torch.ones(2)), conjugate):
        restored = loads(pickle.dumps(value, 5))
        assert type(restored) is type(value)
        assert torch.equal(restored, value)
        assert restored.is_conj() == value.is_conj()
        assert vars(restored) == vars(value)


@pytest.mark.parametrize("home", ["pathlib", "pathlib._local"])
def test_paths_of_every_python(home: str) -> None:
    """Those of Python 3.13 say that they are from another module."""
    restored = loads(framed(call(f"{home}:PurePosixPath", text("a"), text("b")) + b"."))
    assert restored == pathlib.PurePosixPath("a/b")


def test_sharing_stays() -> None:
    base = torch.arange(4.0)
    first, second = loads(dumps([base, base[1:]]))
    first[1] = 7
    assert second[0] == 7
    inner: list[Any] = []
    once, twice = loads(dumps([inner, inner]))
    assert once is twice


def test_arrays_are_writable_as_before() -> None:
    assert loads(dumps(np.zeros(3))).flags.writeable
    assert not loads(dumps(np.frombuffer(b"abc", "u1"))).flags.writeable


@pytest.mark.parametrize("size", [3, 300, 70_000, 70 << 20])
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_buffers_of_any_size(kind: type, size: int) -> None:
    value = [kind(size), {}, kind(b"x") * size, {"a": [kind(b"y")]}]
    assert loads(dumps(value)) == value


def test_long_texts_and_integers() -> None:
    value = ["é" * 70_000, "é" * 300, 2**5_000, -(2**5_000), 2 ** (8 * 60_000)]
    assert loads(dumps(value)) == value
    assert loads(b"\x80\x05" + b"\x8b\x02\0\0\0\x01\x02" + b".") == 0x201


def test_many_shared_objects() -> None:
    shared = [[index] for index in range(1_000)]
    restored = loads(dumps([shared, shared[::-1]]))
    assert restored[0][0] is restored[1][-1]
    assert restored[0] == shared


def test_nesting_within_the_limit() -> None:
    value: Any = ()
    for _ in range(80):
        value = [{"a": (value, 1)}]
    assert loads(dumps(value)) == value


def test_keyword_arguments_of_new() -> None:
    assert loads(dumps(own.WithArguments(x=3))).x == 3


def test_members_of_enums_by_name() -> None:
    data = whole(call("builtins:getattr", named("tests.own:Colour"), text("RED")))
    assert loads(data) is own.Colour.RED


def test_a_state_without_attributes() -> None:
    restored = loads(whole(instance("Plain") + NONE + b"b"))
    assert vars(restored) == {}


def test_items_of_own_containers_are_set_by_their_methods() -> None:
    assert loads(dumps(own.Names(["a", "b"]))) == ["a", "b"]
    with pytest.raises(SnapshotRefusedError, match="appends to an object of type Plain"):
        loads(whole(instance("Plain") + NONE + b"a"))


def test_a_tensor_becomes_one_of_a_subclass_as_torch_has_it() -> None:
    tensor = torch.ones(2).as_subclass(own.Marked)
    tensor.label = "x"
    restored = loads(pickle.dumps(tensor, 5))
    assert type(restored) is own.Marked
    assert restored.label == "x"


def test_a_recursive_tuple_of_two_lists() -> None:
    first: list[Any] = []
    value = (first, [first], 1, 2)
    first.append(value)
    restored = loads(dumps(value))
    assert restored[0][0] is restored


@pytest.mark.parametrize(
    ("name", "source"), [("__del__", None), ("__getattr__", None), ("value", pathlib.Path("/nonexistent"))]
)
def test_made_up_links_are_refused(name: str, source: Any) -> None:
    """A link is put into the unit's class, and takes any attribute of its source."""
    flow = Workflow(name="flow")
    unit = own.Doubler(flow, "unit")
    vars(unit)[name] = Link(source or unit, "mkdir", False)
    data = dumps(flow)
    with pytest.raises(SnapshotRefusedError, match=r"link|hides|sets"):
        loads(data)
    assert name not in vars(own.Doubler)


@pytest.mark.parametrize("name", CALLABLES)
def test_what_can_be_called_is_refused(name: str) -> None:
    """As a value, in containers, in an object, in an attribute of a unit and in a key."""
    value = CALLABLES[name]()
    for holder in (value, [value], {"a": (value,)}, own.Plain(value), {own.Frozen(1, 2): [{"a": value}]}):
        with pytest.raises(SnapshotRefusedError):
            loads(dumps(holder))


def test_equal_keys_are_found() -> None:
    value = {own.Frozen(1, (2,)): "a", own.FrozenSlots(1, 2): "b", own.Pair(1, 2): "c"}
    restored = loads(dumps(value))
    assert restored[own.Frozen(1, (2,))] == "a"
    assert restored[own.FrozenSlots(1, 2)] == "b"
    restored = loads(dumps({own.Plain(1)}))
    assert len(restored) == 1


def test_modules_have_to_be_declared() -> None:
    data = dumps(own.Point(1, 2))
    assert loads(data, ("tests",)) == own.Point(1, 2)
    with pytest.raises(SnapshotRefusedError, match=r"restore\.trusted=\[tests\.own\]"):
        loads(data, ())
    with pytest.raises(SnapshotRefusedError, match=r"restore\.trusted=\[tests\.own\]"):
        loads(data, ("tests.owner", "test"))


@pytest.mark.parametrize("module", ["os", "subprocess", "os.path", "numpy", "torch.nn", "runner", "builtins"])
def test_given_modules_cannot_be_declared(module: str) -> None:
    with pytest.raises(ConfigError, match=f"{module!r}.*not a module of yours"):
        Allowed([module])


@pytest.mark.parametrize("module", ["", "a-b", "a..b", "a b", "/a"])
def test_names_that_are_no_modules(module: str) -> None:
    with pytest.raises(ConfigError, match="not the name of a module"):
        Allowed([module])


def test_one_module_is_not_a_list() -> None:
    with pytest.raises(ConfigError, match=r"must be a list of modules: \[my_pkg\]"):
        Allowed("my_pkg")


def test_code_that_is_not_here() -> None:
    with pytest.raises(SnapshotMismatchError, match=r"needs tests\.own\.Gone, which is not in its module any more"):
        loads(whole(named("tests.own:Gone")))
    with pytest.raises(SnapshotMismatchError, match=r"its module cannot be imported here \(ModuleNotFoundError"):
        loads(whole(named("tests.gone:Gone")), ("tests",))


def test_a_class_that_is_no_unit_has_its_state_brought_up_to_date_as_in_a_pickle(caplog: pytest.LogCaptureFixture) -> None:
    module = own.Scaled()
    module.g = 3
    data = pickle.dumps(module, 5)
    assert [loads(data).gain for _ in range(2)] == [3, 3]
    (message,) = [record.getMessage() for record in caplog.records if "migrate" in record.getMessage()]
    assert message.startswith("tests.own.Scaled: version and migrate are for units")


def test_a_new_name_that_is_wrong_is_told_with_the_old_one() -> None:
    allowed = Allowed(["tests"], {"tests.once.Point": "tests.own.Pint"})
    with pytest.raises(SnapshotMismatchError, match=r"needs tests\.once\.Point, and restore\.renamed says tests\.own\.Pint"):
        Unpickler(placed(whole(named("tests.once:Point"))), allowed).load()


def test_memo_of_a_name() -> None:
    data = whole(named("collections:Counter") + MEMOIZE + EMPTY_DICT + b"\x85Rh\0\x86")
    with pytest.raises(SnapshotRefusedError, match=r"keeps collections\.Counter as a value"):
        loads(data)
    again = whole(named("collections:Counter") + MEMOIZE + EMPTY_DICT + b"\x85Rh\0" + EMPTY_DICT + b"\x85R\x86")
    assert loads(again) == (collections.Counter(), collections.Counter())


def test_reading_stops_behind_the_pickle() -> None:
    from runner.snapshots.unpickling.unpickler import Unpickler

    file = placed(dumps([1, 2]) + b"rest")
    assert Unpickler(file, Allowed()).load() == [1, 2]
    assert file.read() == b"rest"


def test_errors_do_not_ask_the_values_in_them() -> None:
    """The text of a KeyError is the `repr` of its key, which may be endless."""
    with pytest.raises(SnapshotRefusedError, match=r"it cannot be built \(KeyError\), at byte"):
        loads(whole(call("tests.own:raise_key_error", mapping(a=number(1)))))
    with pytest.raises(SnapshotRefusedError, match=r"it cannot be built \(TypeError: .*argument"):
        loads(whole(named("tests.own:Called") + EMPTY_TUPLE + b"R"))


class WithGradient:
    """Is pickled as a tensor of two single-precision numbers, with what is said to be its gradient."""

    def __init__(self, gradient: Any, requires_grad: bool = True) -> None:
        self.gradient, self.requires_grad = gradient, requires_grad

    def __reduce__(self) -> Any:
        storage = torch.zeros(2).untyped_storage()
        return pickled.tensor, (storage, "float32", 0, (2,), (1,), self.requires_grad, True, self.gradient)


def test_a_gradient_comes_back() -> None:
    assert loads(dumps(WithGradient(torch.ones(2)))).grad.tolist() == [1, 1]
    assert loads(dumps(WithGradient(None))).grad is None


@pytest.mark.parametrize(
    "gradient",
    [
        *(torch.ones(3), torch.ones(2, dtype=torch.float64), torch.ones(2, 1), torch.ones(2).to_sparse(), "x", 1, [1.0, 1.0]),
        *(torch.ones(2, requires_grad=True), torch.nn.Parameter(torch.ones(2))),
    ],
    ids=range(9),
)
def test_what_is_no_gradient_of_its_tensor_is_refused(gradient: Any) -> None:
    with pytest.raises(SnapshotRefusedError, match="a tensor's gradient is none"):
        loads(dumps(WithGradient(gradient)))


def test_a_tensor_that_does_not_learn_has_no_gradient() -> None:
    with pytest.raises(SnapshotRefusedError, match="a tensor's gradient is none"):
        loads(dumps(WithGradient(torch.ones(2), requires_grad=False)))

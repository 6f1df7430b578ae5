"""What was one storage before a snapshot is one storage after it."""

import copy
import io
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch

from runner.errors import StateError
from runner.snapshots.capture.pickler import StatePickler, dump
from tests import own
from tests.contract.test_codecs import trained_optimizer
from tests.units import Holder, LoggedWorkflow


def round_trip(value: Any) -> Any:
    file = io.BytesIO()
    StatePickler(file).dump(value)
    return pickle.loads(file.getvalue())


def test_tensors_that_share_a_storage() -> None:
    base = torch.arange(12.0).view(3, 4)
    whole, row, transposed, parameter = round_trip([base, base[1], base.t(), torch.nn.Parameter(base[0])])
    assert torch.equal(row, base[1])
    assert transposed.stride() == base.t().stride()
    whole.zero_()
    assert not row.any()
    assert not transposed.any()
    assert not parameter.any()
    assert parameter.requires_grad


def test_arrays_that_share_memory_and_again_after_a_second_round() -> None:
    base = np.arange(24.0).reshape(4, 6)
    value = [base, base.T, base[1:3, ::-2], base[:2]]
    for _ in range(2):
        value = round_trip(value)
    assert [array.strides for array in value] == [base.strides, base.T.strides, base[1:3, ::-2].strides, base[:2].strides]
    value[0][...] = 7
    assert all((array == 7).all() for array in value)


def test_fortran_order_structured_and_read_only_arrays() -> None:
    fortran = np.asfortranarray(np.arange(12.0).reshape(3, 4))
    structured = np.zeros(5, [("a", "f4"), ("b", "i8")])
    frozen = fortran[:2]
    frozen.flags.writeable = False
    again, field_owner, field, still_frozen = round_trip([fortran, structured, structured["b"], frozen])
    assert again.flags.f_contiguous
    field_owner["b"][:] = 3
    assert (field == 3).all()
    assert not still_frozen.flags.writeable


def test_tied_parameters_and_optimizer_state() -> None:
    module, optimizer = trained_optimizer()
    tied = [module[0].weight, module[0].weight]
    module2, optimizer2, tied2 = round_trip([module, optimizer, tied])
    assert tied2[0] is tied2[1] is module2[0].weight
    assert optimizer2.param_groups[0]["params"][0] is module2[0].weight
    for model, step in ((module, optimizer), (module2, optimizer2)):
        step.zero_grad()
        model(torch.ones(2, 4)).square().sum().backward()
        step.step()
    assert torch.equal(module[0].weight, module2[0].weight)


def test_a_gradient_that_was_gathered() -> None:
    module = torch.nn.Linear(2, 2)
    module.weight.grad = torch.ones(2, 2)
    again = round_trip(module)
    assert torch.equal(again.weight.grad, torch.ones(2, 2))
    assert again.bias.grad is None


MEMORY = {
    "a tensor's array": lambda: (table := torch.zeros(3), table.numpy()),
    "an array's tensor": lambda: (array := np.zeros(3), torch.from_numpy(array)),
    "a part of it": lambda: (array := np.zeros(9), torch.from_numpy(array[2:5])),
    "a reversed part": lambda: (table := torch.zeros(9), table.numpy()[::-2]),
    "a buffer's arrays": lambda: (buffer := bytearray(24), *(np.frombuffer(buffer, "f8") for _ in range(2)))[1:],
    "a tensor without gradients": lambda: (layer := torch.nn.Linear(1, 3), layer.weight.detach().numpy()),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_that_would_come_apart_is_refused(kind: str) -> None:
    unit = Holder(LoggedWorkflow(), "holder")
    unit.one, unit.two = MEMORY[kind]()
    with pytest.raises(StateError, match=r"share memory, and would not any more after a restore"):
        dump(unit.workflow, io.BytesIO())
    unit.two = copy.deepcopy(unit.two)
    dump(unit.workflow, io.BytesIO())


class Weights(torch.nn.Parameter):
    """A parameter of a class of its own."""


REFUSED = {
    "torch's generator": (lambda: torch.default_generator, "the random generator of all of torch"),
    "numpy's generator": (lambda: np.random.mtrand._rand, "the random generator of all of numpy"),
    "python's generator": (lambda: random._inst, "the random generator of all of Python"),
    "what numpy does not restore": (lambda: np.random.RandomState(np.random.PCG64(1)), "no RandomState over PCG64"),
    "a class of parameters": (lambda: Weights(torch.zeros(1)), "a parameter of the class Weights"),
    "a parameter over a class of tensors": (
        lambda: torch.nn.Parameter(torch.zeros(1).as_subclass(own.Marked)),
        "a parameter of the class Marked",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_another_thing_is_refused_by_its_name(kind: str) -> None:
    make, said = REFUSED[kind]
    unit = Holder(LoggedWorkflow(), "holder")
    unit.held = [make()]
    with pytest.raises(StateError, match=rf"Holder\('holder'\)\.held cannot be pickled .*{said}"):
        dump(unit.workflow, io.BytesIO())


def test_generators_of_ones_own_are_not_refused() -> None:
    unit = Holder(LoggedWorkflow(), "holder")
    unit.held = [random.Random(1), np.random.RandomState(1), np.random.default_rng(1), torch.Generator()]
    dump(unit.workflow, io.BytesIO())


APART = {
    "neighbors": lambda: [np.zeros(5), *np.zeros((2, 3)), torch.zeros(3), *torch.zeros(2, 3)],
    "nothing": lambda: [np.zeros(0), torch.zeros(0), torch.zeros(0).numpy()],
    "what cannot change": lambda: [np.frombuffer(data := bytes(8), "u1"), np.frombuffer(data, "u1")],
    "the same number again and again": lambda: [np.broadcast_to(np.zeros(1), (1000,)), torch.zeros(1), np.zeros(1)],
}


@pytest.mark.parametrize("kind", APART)
def test_memory_that_is_not_shared_is_none_of_this(kind: str) -> None:
    unit = Holder(LoggedWorkflow(), "holder")
    unit.held = APART[kind]()
    dump(unit.workflow, io.BytesIO())


def test_generator_goes_on() -> None:
    generator = torch.Generator().manual_seed(3)
    torch.rand(5, generator=generator)
    again = round_trip(generator)
    assert torch.equal(torch.rand(5, generator=generator), torch.rand(5, generator=again))


def test_sparse_tensor() -> None:
    sparse = torch.eye(3).to_sparse()
    assert torch.equal(round_trip(sparse).to_dense(), sparse.to_dense())


def test_restored_storages_are_aligned() -> None:
    tensors = round_trip([torch.ones(size) for size in (1, 3, 1000, 100_000)])
    assert all(tensor.data_ptr() % 64 == 0 for tensor in tensors)

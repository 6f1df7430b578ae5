"""Names of numpy's random generators. Positions within their buffers are checked: numpy itself reads wherever they point."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import MT19937, PCG64, PCG64DXSM, SFC64, BitGenerator, Generator, Philox, RandomState, SeedSequence

from runner.snapshots.unpickling.allowed.entries import Entry, Table, are, check, class_of, named

_BIT_GENERATORS = (MT19937, PCG64, PCG64DXSM, Philox, SFC64)
_POSITIONS = {"MT19937": 624, "Philox": 4}
"""Numbers in the buffer of a generator that has one."""
_ARRAYS = {("MT19937", "key"): (624, np.uint32), ("Philox", "counter"): (4, np.uint64), ("Philox", "key"): (2, np.uint64)} | {
    ("Philox", "buffer"): (4, np.uint64),
    ("SFC64", "state"): (4, np.uint64),
}
"""Lengths and types of the arrays in states."""


def table() -> Table:
    """Returns the entries."""
    functions: Table = {
        ("numpy.random._pickle", "__bit_generator_ctor"): Entry(call=_bit_generator),
        ("numpy.random._pickle", "__generator_ctor"): Entry(call=_generator),
        ("numpy.random._pickle", "__randomstate_ctor"): Entry(
            call=_random_state, build=_build_random_state, makes=(RandomState,)
        ),
        ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): Entry(
            call=_seed_sequence, build=_build_seed_sequence, makes=(SeedSequence,)
        ),
    }
    generators = [Entry(cls=cls, build=_build_bit_generator) for cls in _BIT_GENERATORS]
    return functions | named([Entry(cls=SeedSequence), *generators])


def _bit_generator(cls: Any) -> BitGenerator:
    kind = class_of(cls)
    check(kind in _BIT_GENERATORS, "a random generator is of no known kind")
    generator: BitGenerator = kind(0)  # type: ignore[misc]
    return generator


def _generator(bits: Any) -> Generator:
    check(isinstance(bits, _BIT_GENERATORS), "a random generator has no source")
    return Generator(bits)


def _random_state(bits: Any) -> RandomState:
    check(type(bits) is MT19937, "a RandomState has no source")
    return RandomState(bits)


def _build_bit_generator(instance: Any, state: Any) -> None:
    check(type(state) is tuple and len(state) == 2, "a random generator's state is no pair")
    check(type(state[1]) in (SeedSequence, type(None)), "a random generator's seed is no SeedSequence")
    _check_state(type(instance).__name__, state[0])
    instance.__setstate__(state)


def _build_random_state(instance: Any, state: Any) -> None:
    _check_state("MT19937", state)
    RandomState.__setstate__(instance, state)


def _check_state(kind: str, state: Any) -> None:
    what = f"the state of a {kind} is wrong"
    check(type(state) is dict and state.get("bit_generator") == kind and type(state.get("state")) is dict, what)
    values = {**state, **state["state"], "bit_generator": None, "state": state["state"].get("state")}
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            size, dtype = _ARRAYS.get((kind, name), (0, None))
            check(value.shape == (size,) and value.dtype == dtype, what)
        else:
            check(type(value) in (int, float, type(None)) and (kind, name) not in _ARRAYS, what)
    if kind in _POSITIONS:
        position = values.get("pos", values.get("buffer_pos"))
        check(type(position) is int and 0 <= position <= _POSITIONS[kind], what)


def _seed_sequence(cls: Any, checksum: Any, state: Any) -> SeedSequence:
    check(class_of(cls) is SeedSequence and type(checksum) is int and state is None, "a SeedSequence is not made empty")
    return SeedSequence(0)


def _build_seed_sequence(instance: Any, state: Any) -> None:
    what = "the state of a SeedSequence is wrong"
    check(type(state) is tuple and len(state) == 5, what)
    entropy, children, pool, size, spawn_key = state
    check(isinstance(pool, np.ndarray) and type(size) is int and pool.dtype == np.uint32 and pool.shape == (size,), what)
    check(
        type(children) is int and type(spawn_key) is tuple and are(spawn_key, int) and type(entropy) in (int, list, tuple), what
    )
    instance.__setstate__(state)

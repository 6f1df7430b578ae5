"""Copies into new memory: exactly the bytes that were asked for, wherever they begin."""

import mmap

import numpy as np
import pytest

from runner.memory import copy_to_new

MANY = 1 << 16


@pytest.mark.parametrize("begin", [0, 1, 4095, 4096, 4097])
@pytest.mark.parametrize("size", [0, 1, MANY - 1, MANY, MANY + 1, MANY + mmap.PAGESIZE, 3 * MANY + 17])
def test_only_what_was_asked_for_is_copied(begin: int, size: int) -> None:
    memory = mmap.mmap(-1, begin + size + 5000)
    content = np.random.default_rng(size).integers(1, 256, size, np.uint8).tobytes()
    with memoryview(memory) as whole, whole[begin : begin + size] as target:
        copy_to_new(target, memoryview(content))
    assert memory[:] == bytes(begin) + content + bytes(5000)


def test_what_stands_around_it_in_memory_stays() -> None:
    memory = bytearray(b"x" * (5 * MANY))
    copy_to_new(memoryview(memory)[MANY + 3 : 3 * MANY], memoryview(bytes(2 * MANY - 3)))
    assert memory == b"x" * (MANY + 3) + bytes(2 * MANY - 3) + b"x" * (2 * MANY)

"""Assembles pickles opcode by opcode."""

import pickle
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

PROTO, STOP, MARK, REDUCE, BUILD, MEMOIZE, POP, NONE = b"\x80\x05", b".", b"(", b"R", b"b", b"\x94", b"0", b"N"
EMPTY_DICT, EMPTY_LIST, EMPTY_SET, EMPTY_TUPLE = b"}\x94", b"]\x94", b"\x8f\x94", b")"


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"\x8c" + bytes([len(data)]) + data if len(data) < 256 else b"X" + struct.pack("<I", len(data)) + data


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    encoded = pickle.encode_long(value)
    return b"\x8a" + bytes([len(encoded)]) + encoded


def named(name: str) -> bytes:
    module, _, qualified = name.partition(":")
    return text(module) + text(qualified) + b"\x93"


def ours(name: str) -> bytes:
    """Names one of veles-run's own classes."""
    return call("runner.pickled:class_", text(name))


def pair(*parts: bytes) -> bytes:
    return MARK + b"".join(parts) + b"t"


def call(function: str | bytes, *arguments: bytes) -> bytes:
    return (named(function) if isinstance(function, str) else function) + pair(*arguments) + REDUCE


def mapping(**items: bytes) -> bytes:
    return EMPTY_DICT + MARK + b"".join(text(key) + value for key, value in items.items()) + b"u"


def listed(*items: bytes) -> bytes:
    return EMPTY_LIST + MARK + b"".join(items) + b"e"


def framed(body: bytes) -> bytes:
    return PROTO + b"\x95" + struct.pack("<Q", len(body)) + body


def whole(body: bytes) -> bytes:
    """A pickle in one frame."""
    return framed(body + STOP)


NAMESPACE = call("types:SimpleNamespace")


Rows = Iterator[tuple[str, Callable[[bytes], bytes], dict[str, Any]]]
"""Name, a function that makes the pickle's body of the marker's path, and how it differs from a `Sample`'s defaults."""
FIRES = {"fires": True}
RAW = {"raw": True}


def instance(name: str) -> bytes:
    return named(f"tests.own:{name}") + EMPTY_TUPLE + b"\x81"


def tensor(content: bytes, size: int, stride: int = 1, offset: int = 0, dtype: str = "float32") -> bytes:
    storage = call("runner.pickled:storage", data(content), text("cpu"))
    return call(
        "runner.pickled:tensor",
        storage,
        text(dtype),
        number(offset),
        pair(number(size)),
        pair(number(stride)),
        b"\x89",
        b"\x89",
    )


def unbuilt(kind: str) -> bytes:
    """A data type that waits for its state."""
    return call("numpy:dtype", text(kind), b"\x89", b"\x88") + MEMOIZE


def dtype(kind: str) -> bytes:
    """A data type without fields."""
    version, order, *_, size, alignment, flags = np.dtype(kind).__reduce__()[2]
    state = pair(number(version), text(order), NONE, NONE, NONE, number(size), number(alignment), number(flags))
    return call("numpy:dtype", text(kind), b"\x89", b"\x88") + MEMOIZE + state + BUILD


def empty_array() -> bytes:
    return call("numpy._core.multiarray:_reconstruct", named("numpy:ndarray"), pair(number(0)), b"C\x01b")


def chain(function: str, first: str, depth: int) -> bytes:
    """Calls a function with the result of the call before."""
    made = named(first) + b"\x94"
    for index in range(depth):
        made += named(function) + b"j" + struct.pack("<I", index) + b"\x85R\x94"
    return made

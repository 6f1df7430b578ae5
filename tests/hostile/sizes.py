"""Samples that cost memory, time or stack: tricks with memo and frames, bombs, lengths, nesting."""

import struct

from tests.hostile.assemble import (
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_SET,
    EMPTY_TUPLE,
    FIRES,
    MARK,
    MEMOIZE,
    NONE,
    POP,
    PROTO,
    RAW,
    REDUCE,
    STOP,
    Rows,
    call,
    chain,
    data,
    dtype,
    empty_array,
    framed,
    listed,
    mapping,
    named,
    number,
    pair,
    tensor,
    text,
)


def tricks() -> Rows:
    """Memo, frames and the stack."""
    fire = lambda m: call("os:mkdir", m)  # noqa: E731
    yield "frame_short", lambda m: PROTO + b"\x95" + struct.pack("<Q", 3) + fire(m) + STOP, RAW
    yield "frame_long", lambda m: PROTO + b"\x95" + struct.pack("<Q", 5000) + fire(m) + STOP, RAW
    yield "frame_huge", lambda m: PROTO + b"\x95" + struct.pack("<Q", 2**63) + fire(m) + STOP, RAW
    yield "frame_in_frame", lambda m: b"\x95" + struct.pack("<Q", 3) + fire(m), {}
    yield "frame_goes_on", lambda m: NONE + STOP + fire(m), {"message": "goes on after its end"}
    yield "frame_cuts_text", lambda m: framed(b"\x8c\x10abc") + NONE + STOP, RAW
    yield "frame_cuts_number", lambda m: framed(b"J\0") + NONE + STOP, RAW
    yield "frame_empty", lambda m: framed(b"") * 1 + NONE, RAW
    yield "unframed", lambda m: PROTO + fire(m) + STOP, {"raw": True, "fires": True}
    yield "unframed_many", lambda m: PROTO + b"N0" * 30 + b"N.", {"raw": True, "message": "outside of frames"}
    yield "proto_4", lambda m: b"\x80\x04" + NONE + STOP, {"raw": True, "message": "protocol 5"}
    yield "proto_none", lambda m: NONE + STOP, RAW
    yield "proto_9", lambda m: b"\x80\x09" + NONE + STOP, RAW
    yield "empty", lambda m: b"", RAW
    yield "no_stop", lambda m: framed(NONE), RAW
    yield "stop_only", lambda m: b"", {}
    yield "two_values", lambda m: b"NN", {"message": "other than one object"}
    yield "open_mark", lambda m: b"(N", {"message": "other than one object"}
    yield "memo_missing", lambda m: b"h\x05", {}
    yield "memo_long_missing", lambda m: b"j\xff\xff\xff\xff", {}
    yield "memo_of_nothing", lambda m: MEMOIZE, {}
    yield (
        "memo_put_over",
        lambda m: (
            text("collections")
            + b"q\0"
            + text("posix")
            + b"q\0"
            + POP
            + POP
            + b"h\0"
            + text("mkdir")
            + b"\x93"
            + pair(m)
            + REDUCE
        ),
        FIRES,
    )
    yield "memo_long_put", lambda m: NONE + b"r\0\0\0\x04", {}
    yield "pop_of_nothing", lambda m: POP, {}
    yield "pop_mark_of_nothing", lambda m: b"1", {}
    yield "below_mark", lambda m: b"N(0t", {}
    yield "tuple_of_nothing", lambda m: b"\x85", {}
    yield "tuple_of_one", lambda m: b"N\x86", {}
    yield "odd_items", lambda m: EMPTY_DICT + b"(Nu", {}
    yield "unmemoized", lambda m: b"}", {"message": "memoized"}
    yield "unmemoized_unframed", lambda m: PROTO + b"}.", {"raw": True, "message": "memoized"}
    yield "bad_text", lambda m: b"\x8c\x01\xff", {}
    yield "unhashable", lambda m: EMPTY_DICT + EMPTY_LIST + NONE + b"s", {}
    yield "build_of_nothing", lambda m: BUILD, {}


def bombs() -> Rows:
    """A few bytes that stand for a lot of memory or time."""
    double = b"\x94h\0h\0\x86" + b"".join(b"\x94h" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(1, 60))
    tuples = EMPTY_TUPLE + double
    frozen = EMPTY_TUPLE + b"\x94" + b"".join(b"(h" + bytes([i]) + b"h" + bytes([i]) + b"t\x94" for i in range(60)) + b"(h\x3bt"
    yield (
        "hash_key",
        lambda m: tuples + b"0" + EMPTY_DICT + b"h\x38" + NONE + b"s",
        {"message": "a key holds"},
    )
    yield "hash_keys", lambda m: tuples + b"0" + EMPTY_DICT + b"(h\x38Nu", {"message": "a key holds"}
    yield "hash_set", lambda m: tuples + b"0" + EMPTY_SET + b"(h\x38\x90", {"message": "a key holds"}
    yield "hash_frozenset", lambda m: frozen + b"0(h\x38\x91", {"message": "a key holds"}
    yield (
        "hash_field",
        lambda m: (
            tuples
            + b"0"
            + named("tests.own:Frozen")
            + EMPTY_TUPLE
            + b"\x81"
            + listed(b"h\x38", NONE)
            + POP
            + EMPTY_DICT
            + named("tests.own:Pair")
            + pair(b"h\x38", NONE)
            + b"\x81"
            + NONE
            + b"s"
        ),
        {"message": "a key holds"},
    )
    yield "hash_counter", lambda m: tuples + b"0" + call("tests.own:Bag", listed(b"h\x38")), {"message": "a key holds"}
    yield "hash_enum", lambda m: tuples + b"0" + call("tests.own:Colour", b"h\x38"), {"message": "a key holds"}
    yield "bytearray", lambda m: call("builtins:bytearray", number(1 << 40)), {}
    yield "bytes", lambda m: call("builtins:bytes", number(1 << 40)), {}
    yield "list_of_range", lambda m: call("builtins:list", call("builtins:range", number(1 << 40))), {}
    yield "multiply", lambda m: call("operator:mul", text("a"), number(1 << 40)), {}
    yield "power", lambda m: call("builtins:pow", number(10), number(1 << 40)), {}
    yield "integer_text", lambda m: call("builtins:int", text("9" * 60_000)), {}
    yield "fraction", lambda m: call("fractions:Fraction", text("1e1000000000")), {}
    yield "tensor", lambda m: tensor(b"\0" * 4, 1 << 40), {"message": "beyond its storage"}
    yield "tensor_stride", lambda m: tensor(b"\0" * 8, 2, 1 << 40), {"message": "beyond its storage"}
    yield "tensor_offset", lambda m: tensor(b"\0" * 8, 1, 1, 1 << 40), {"message": "beyond its storage"}
    yield "tensor_negative", lambda m: tensor(b"\0" * 8, 1, 1, -1), {}
    yield "tensor_type", lambda m: tensor(b"\0" * 8, 1, 1, 0, "load"), {"message": "no type"}
    yield (
        "array_shape",
        lambda m: call("numpy._core.numeric:_frombuffer", data(b""), dtype("f8"), pair(number(1 << 40)), text("C")),
        {"message": "do not agree"},
    )
    yield (
        "array_state",
        lambda m: empty_array() + pair(number(1), pair(number(1 << 40)), dtype("f8"), b"\x89", data(b"\0" * 8)) + BUILD,
        {"message": "do not agree"},
    )
    yield (
        "array_of_objects",
        lambda m: empty_array() + pair(number(1), pair(number(1 << 40)), dtype("O8"), b"\x89", EMPTY_LIST) + BUILD,
        {"message": "do not agree"},
    )
    yield (
        "array_twice",
        lambda m: empty_array() + (pair(number(1), pair(number(1)), dtype("u1"), b"\x89", data(b"a")) + BUILD) * 2,
        {"message": "already"},
    )
    yield (
        "scalar",
        lambda m: call("numpy._core.multiarray:scalar", dtype("V1000000000"), data(b"a")),
        {"message": "do not agree"},
    )
    yield (
        "recurrent",
        lambda m: (
            named("torch.nn.modules.rnn:LSTM")
            + EMPTY_TUPLE
            + b"\x81"
            + mapping(all_weights=listed(listed(NONE)), num_layers=number(1 << 40), bidirectional=b"\x89")
            + BUILD
        ),
        {"message": "wrong sizes"},
    )
    yield "seeds", lambda m: call("numpy.random.bit_generator:SeedSequence", number(1)), {}
    yield (
        "sparse",
        lambda m: call(
            "torch._utils:_rebuild_sparse_tensor",
            call("torch.serialization:_get_layout", text("torch.sparse_coo")),
            pair(tensor(b"\xff" * 8, 1, dtype="int64"), tensor(b"\0" * 4, 1), call("torch:Size", pair(number(5)))),
        ),
        {},
    )
    yield "bare_sets", lambda m: b"\x8f" * 2_000_000, {}
    yield "bare_dicts", lambda m: b"}" * 2_000_000, {}
    yield "marks", lambda m: b"(" * 2_000_000, {"message": "nests"}
    yield "memoize", lambda m: NONE + MEMOIZE * 400_000 + b"0", {}


def lengths() -> Rows:
    """Lengths that are longer than what there is."""
    for name, opcode, layout in (
        *(("binunicode", b"X", "<I"), ("binunicode8", b"\x8d", "<Q"), ("binbytes", b"B", "<I"), ("binbytes8", b"\x8e", "<Q")),
        *(("bytearray8", b"\x96", "<Q"), ("long4", b"\x8b", "<i")),
    ):
        top = struct.unpack(layout, b"\xff" * struct.calcsize(layout))[0]
        for size in (top, top >> 1 if top > 0 else 2**31 - 1, 1 << 30, 70_000):
            header = opcode + struct.pack(layout, size)
            yield f"{name}_{size}", lambda m, h=header: h + b"abc", {}
            yield f"{name}_{size}_unframed", lambda m, h=header: PROTO + h + b"abc" + STOP, RAW
    for name, opcode in (("short_binunicode", b"\x8c"), ("short_binbytes", b"C"), ("long1", b"\x8a")):
        yield name, lambda m, o=opcode: o + b"\xffabc", {}
        yield f"{name}_unframed", lambda m, o=opcode: PROTO + o + b"\xffabc" + STOP, RAW


def nestings() -> Rows:
    """Containers in containers in containers."""
    depth = 50_000
    yield "marks", lambda m: MARK * depth + b"t" * depth, {"message": "nests"}
    yield "tuples", lambda m: EMPTY_TUPLE + b"\x85\x94" * depth, {"message": "nests"}
    yield "pairs", lambda m: EMPTY_TUPLE + b"N\x86\x94" * depth, {"message": "nests"}
    yield "triples", lambda m: EMPTY_TUPLE + b"NN\x87" * depth, {"message": "nests"}
    yield "lists", lambda m: EMPTY_LIST * depth + b"a" * (depth - 1), {"message": "nests"}
    yield "lists_of_marks", lambda m: (EMPTY_LIST + MARK) * depth + b"e" * depth, {"message": "nests"}
    yield "dicts", lambda m: (EMPTY_DICT + NONE) * depth + NONE + b"s" * depth, {"message": "nests"}
    yield "dicts_of_marks", lambda m: (EMPTY_DICT + MARK + NONE) * depth, {"message": "nests"}
    yield (
        "calls",
        lambda m: EMPTY_TUPLE + b"".join([named("collections:deque") + MEMOIZE + POP, *[b"\x85" + b"\x94" * 0] * depth]),
        {"message": "nests"},
    )
    yield "partials", lambda m: chain("functools:partial", "tests.own:scaled", 3000), {}
    yield "slices", lambda m: chain("builtins:slice", "builtins:int", 3000), {}
    yield (
        "frozensets",
        lambda m: (
            MARK + b"\x91\x94" + b"(h\0\x91" + b"".join([b"\x94(j" + struct.pack("<I", i) + b"\x91" for i in range(1, 3000)])
        ),
        {"message": "a key holds"},
    )

"""Samples that give what is allowed the wrong arguments and states."""

from tests.hostile.assemble import (
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    NAMESPACE,
    NONE,
    Rows,
    call,
    data,
    dtype,
    empty_array,
    listed,
    mapping,
    named,
    number,
    ours,
    pair,
    text,
    unbuilt,
)


def values() -> Rows:
    """Arguments and states of the wrong kind for every call and every state that is allowed."""
    wrong = call("tests.own:Called", NONE)
    for function in ALLOWED_CALLS:
        for count in range(9):
            name = f"{function.replace(':', '_').replace('.', '_')}_{count}"
            if (function, count) not in HARMLESS:
                yield name, lambda m, f=function, c=count: call(f, *[wrong] * c), {}
    for cls in ALLOWED_STATES:
        yield cls.replace(":", "_").replace(".", "_"), lambda m, c=cls: _made(c) + wrong + BUILD, {}
    for name, body in dtype_states().items():
        yield f"dtype_{name}", lambda m, b=body: b, {}


ALLOWED_CALLS = (
    *(
        "builtins:set",
        "builtins:frozenset",
        "builtins:complex",
        "builtins:range",
        "builtins:slice",
        "builtins:type",
        "builtins:getattr",
    ),
    *(
        "collections:OrderedDict",
        "collections:Counter",
        "collections:deque",
        "collections:defaultdict",
        "types:SimpleNamespace",
    ),
    *("datetime:datetime", "datetime:date", "datetime:time", "datetime:timedelta", "datetime:timezone", "decimal:Decimal"),
    *("decimal:Context", "fractions:Fraction", "pathlib:PurePosixPath", "random:Random", "array:_array_reconstructor"),
    *("logging:getLogger", "functools:partial", "zoneinfo:ZoneInfo._unpickle", "builtins:bytearray", "numpy:dtype"),
    *("numpy._core.multiarray:_reconstruct", "numpy._core.multiarray:scalar", "numpy._core.numeric:_frombuffer"),
    *("numpy.ma.core:_mareconstruct", "numpy.random._pickle:__bit_generator_ctor", "numpy.random._pickle:__generator_ctor"),
    *("numpy.random._pickle:__randomstate_ctor", "numpy.random.bit_generator:__pyx_unpickle_SeedSequence", "torch:Size"),
    *("torch:device", "torch._C:Generator", "torch.serialization:_get_layout", "torch.storage:_load_from_bytes"),
    *(
        "torch._utils:_rebuild_tensor_v2",
        "torch._utils:_rebuild_parameter",
        "torch._utils:_rebuild_parameter_with_state",
    ),
    *("torch._utils:_rebuild_sparse_tensor", "torch._utils:_rebuild_qtensor", "torch._tensor:_rebuild_from_type_v2"),
    *(
        "runner.pickled:storage",
        "runner.pickled:tensor",
        "runner.pickled:unit",
    ),
)
HARMLESS = {
    *(("builtins:range", 99), ("collections:OrderedDict", 0), ("collections:deque", 0)),
    *(("collections:defaultdict", 0), ("types:SimpleNamespace", 0), ("decimal:Context", 0), ("pathlib:PurePosixPath", 0)),
    *(("random:Random", 0), ("logging:getLogger", 0)),
}
"""Calls that are right."""
ALLOWED_STATES = (
    *(
        "types:SimpleNamespace",
        "collections:OrderedDict",
        "collections:Counter",
        "random:Random",
        "functools:partial",
        "uuid:UUID",
    ),
    *(
        "numpy:dtype",
        "numpy:ndarray",
        "numpy.ma:MaskedArray",
        "numpy:poly1d",
        "numpy.random._pcg64:PCG64",
        "numpy.random.mtrand:RandomState",
    ),
    *("numpy.random.bit_generator:SeedSequence", "torch._C:Generator", "torch.nn.modules.linear:Linear", "torch.optim.sgd:SGD"),
    *("torch.nn.modules.rnn:GRU", "tests.own:Plain", "tests.own:Slotted", "tests.own:Stateful", "Unit"),
    *("Workflow", "Stream", "Bool"),
)


def _made(cls: str) -> bytes:
    special = {
        "types:SimpleNamespace": NAMESPACE,
        "collections:OrderedDict": call("collections:OrderedDict"),
        "collections:Counter": call("collections:Counter", EMPTY_DICT),
        "random:Random": call("random:Random"),
        "functools:partial": call("functools:partial", named("tests.own:scaled")),
        "numpy:dtype": unbuilt("V8"),
        "numpy:ndarray": empty_array(),
        "numpy.ma:MaskedArray": call(
            "numpy.ma.core:_mareconstruct", named("numpy.ma:MaskedArray"), named("numpy:ndarray"), pair(number(0)), text("b")
        ),
        "numpy.random._pcg64:PCG64": call("numpy.random._pickle:__bit_generator_ctor", named("numpy.random._pcg64:PCG64")),
        "numpy.random.mtrand:RandomState": call(
            "numpy.random._pickle:__randomstate_ctor",
            call("numpy.random._pickle:__bit_generator_ctor", named("numpy.random._mt19937:MT19937")),
        ),
        "numpy.random.bit_generator:SeedSequence": call(
            "numpy.random.bit_generator:__pyx_unpickle_SeedSequence",
            named("numpy.random.bit_generator:SeedSequence"),
            number(1),
            NONE,
        ),
        "torch._C:Generator": call("torch._C:Generator", call("torch:device", text("cpu"))),
    }
    return special.get(cls) or (named(cls) if ":" in cls else ours(cls)) + EMPTY_TUPLE + b"\x81"


def dtype_states() -> dict[str, bytes]:
    """States of data types that make numpy read foreign memory."""
    order, names = text("|"), pair(text("a"))

    def state(
        *,
        base: bytes = NONE,
        names: bytes = NONE,
        fields: bytes = NONE,
        size: int = 8,
        flags: int = 0,
        order: bytes = order,
        more: bytes = b"",
    ) -> bytes:
        return unbuilt("V8") + pair(number(3), order, base, names, fields, number(size), number(1), number(flags), more) + BUILD

    offset = EMPTY_DICT + text("a") + pair(dtype("f8"), number(1 << 30)) + b"s"
    field = EMPTY_DICT + text("a") + pair(dtype("f8"), number(0)) + b"s"
    right = pair(number(3), order, NONE, names, field, number(8), number(1), number(16))
    return {
        "offset": state(names=names, fields=offset, flags=16),
        "flags": state(flags=63),
        "size": state(size=1 << 60),
        "negative": state(size=-8),
        "base": state(base=pair(dtype("f8"), pair(number(1 << 40)))),
        "base_kind": state(base=EMPTY_LIST),
        "names": state(names=text("a")),
        "fields": state(names=names, fields=EMPTY_LIST),
        "field": state(names=names, fields=EMPTY_DICT + text("a") + EMPTY_LIST + b"s"),
        "field_type": state(names=names, fields=EMPTY_DICT + text("a") + pair(NONE, NONE) + b"s"),
        "missing": state(names=names, fields=EMPTY_DICT),
        "title": state(names=names, fields=EMPTY_DICT + text("a") + pair(dtype("f8"), number(0), number(1)) + b"s", flags=16),
        "order": state(order=text("x")),
        "metadata": state(more=pair(mapping(x=NONE), NONE)),
        "other_kind": unbuilt("f8") + right + BUILD,
        "twice": unbuilt("V8") + right + BUILD + right + BUILD,
        "used_before": unbuilt("V8")
        + call("numpy._core.numeric:_frombuffer", data(b"\0" * 8), b"h\0", pair(number(1)), text("C")),
        "kept": listed(unbuilt("V8")),
        "kind": call("numpy:dtype", text("f8,(9,9)f8"), b"\x89", b"\x88"),
        "aligned": call("numpy:dtype", text("f8"), b"\x88", b"\x88"),
        "unit": unbuilt("M8")
        + pair(
            number(4),
            text("<"),
            NONE,
            NONE,
            NONE,
            number(-1),
            number(-1),
            number(0),
            pair(NONE, pair(data(b"n]s"), number(1), number(1), number(1))),
        )
        + BUILD,
        "unit_metadata": unbuilt("M8")
        + pair(number(4), text("<"), NONE, NONE, NONE, number(-1), number(-1), number(0), pair(mapping(x=NONE), NONE))
        + BUILD,
    }

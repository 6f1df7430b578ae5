"""Samples that reach for something through what is allowed: attributes, extensions, libraries, nested pickles."""

import pickle

import torch

from tests.hostile.assemble import (
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FIRES,
    NAMESPACE,
    NONE,
    POP,
    RAW,
    REDUCE,
    STOP,
    Rows,
    call,
    data,
    listed,
    mapping,
    named,
    number,
    pair,
    tensor,
    text,
    whole,
)
from tests.hostile.running import resolves


def attributes() -> Rows:
    """Ways to take an attribute."""
    yield (
        "getattr_module",
        lambda m: call(call("builtins:getattr", call("importlib:import_module", text("os")), text("mkdir")), m),
        FIRES,
    )
    yield (
        "getattr_class",
        lambda m: call(call("builtins:getattr", named("pathlib:Path"), text("mkdir")), call("pathlib:PosixPath", m)),
        FIRES,
    )
    yield "getattr_path", lambda m: call(call("builtins:getattr", call("pathlib:PosixPath", m), text("mkdir"))), FIRES
    yield "getattr_own_class", lambda m: call("builtins:getattr", named("tests.own:Bound"), text("call")), {}
    yield (
        "getattr_dunder",
        lambda m: call("builtins:getattr", named("tests.own:Bound") + EMPTY_TUPLE + b"\x81", text("__class__")),
        {},
    )
    yield (
        "getattr_value",
        lambda m: call("builtins:getattr", named("tests.own:Bound") + EMPTY_TUPLE + b"\x81", text("limit")),
        {},
    )
    yield (
        "getattr_missing",
        lambda m: call("builtins:getattr", named("tests.own:Bound") + EMPTY_TUPLE + b"\x81", text("other")),
        {},
    )
    yield "getattr_enum", lambda m: call("builtins:getattr", named("tests.own:Colour"), text("mro")), {}
    yield (
        "getattr_method_called",
        lambda m: call(call("builtins:getattr", named("tests.own:Bound") + EMPTY_TUPLE + b"\x81", text("call"))),
        {},
    )
    yield "getattr_name", lambda m: call("builtins:getattr", NAMESPACE, number(1)), {}
    yield "methodcaller", lambda m: call(call("operator:methodcaller", text("mkdir")), call("pathlib:PosixPath", m)), FIRES
    yield (
        "attrgetter",
        lambda m: call(call(call("operator:attrgetter", text("mkdir")), call("importlib:import_module", text("os"))), m),
        FIRES,
    )
    yield "itemgetter", lambda m: call(call("operator:itemgetter", text("mkdir")), mapping(mkdir=m)), {}
    yield "resolve_name", lambda m: call(call("pkgutil:resolve_name", text("os:mkdir")), m), FIRES
    yield "vars", lambda m: call("builtins:vars", call("importlib:import_module", text("os"))), {}
    yield "import", lambda m: call("builtins:__import__", text("os")), {}


def extensions() -> Rows:
    """The registry of copyreg."""
    yield "registry", lambda m: named("copyreg:_inverted_registry") + number(7) + pair(text("posix"), text("mkdir")) + b"s", {}
    yield (
        "cache",
        lambda m: (
            named("copyreg:_extension_cache") + number(7) + named("os:mkdir") + b"s" + POP + b"\x82\x07" + pair(m) + REDUCE
        ),
        FIRES,
    )
    yield "dispatch", lambda m: call("copyreg:pickle", named("builtins:int"), named("builtins:print")), {}
    yield (
        "newobj",
        lambda m: call("copyreg:__newobj__", named("builtins:tuple"), call("builtins:map", named("os:mkdir"), listed(m))),
        FIRES,
    )
    yield (
        "reconstructor",
        lambda m: call("copyreg:_reconstructor", named("tests.own:Plain"), named("builtins:object"), NONE),
        {},
    )


def stored_numbers(count: int) -> bytes:
    """Returns two numbers as torch stores them, with another count."""
    (stored,) = torch.ones(2)._typed_storage().__reduce__()[1]
    return stored.replace(b"K\x02N", b"\x8a\x07" + count.to_bytes(7, "little") + b"N")


def libraries() -> Rows:
    """What numpy, torch and others read, write and run."""
    evil = lambda m: data(whole(call("os:mkdir", m)))  # noqa: E731
    yield "numpy_memmap", lambda m: call("numpy:memmap", m, text("u1"), text("w+"), number(0), number(1)), FIRES
    yield "numpy_save", lambda m: call("numpy:savetxt", m, listed(number(1))), FIRES
    yield "numpy_load", lambda m: call("numpy:load", m, NONE, b"\x88"), {}
    yield "numpy_tofile", lambda m: call("numpy:ndarray.tofile", m), {}
    yield (
        "numpy_runstring",
        lambda m: call("numpy.testing._private.utils:runstring", text("import os; os.mkdir(x)"), mapping(x=m)),
        {"fires": resolves("numpy.testing._private.utils:runstring")},
    )
    yield (
        "numpy_f2py",
        lambda m: call("numpy.f2py.crackfortran:myeval", text("__import__('os').mkdir(x)"), mapping(x=m)),
        {"fires": resolves("numpy.f2py.crackfortran:myeval")},
    )
    yield "numpy_core_loads", lambda m: call("numpy._core._methods:pickle.loads", evil(m)), FIRES
    yield "numpy_as_strided", lambda m: call("numpy.lib.stride_tricks:as_strided", EMPTY_LIST, pair(number(9))), {}
    yield "numpy_fromfile", lambda m: call("numpy:fromfile", text("/etc/hostname")), {}
    yield (
        "torch_load_from_bytes",
        lambda m: call("torch.storage:_load_from_bytes", evil(m)),
        {"fires": True, "message": "storage"},
    )
    yield (
        "torch_load_from_bytes_magic",
        lambda m: call(
            "torch.storage:_load_from_bytes", data(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + whole(call("os:mkdir", m)))
        ),
        FIRES,
    )
    for count in (3, 1 << 26, 1 << 40):
        yield (
            f"torch_storage_of_{count}",
            lambda m, c=count: call("torch.storage:_load_from_bytes", data(stored_numbers(c))),
            {},
        )
    yield "torch_save", lambda m: call("torch:save", listed(number(1)), m), FIRES
    yield "torch_load", lambda m: call("torch:load", m), {}
    yield "torch_hub", lambda m: call("torch.hub:load", m), {}
    yield (
        "torch_rebuild_from_type",
        lambda m: call(
            "torch._tensor:_rebuild_from_type_v2", named("os:mkdir"), named("torch._tensor:Tensor"), pair(m), EMPTY_DICT
        ),
        FIRES,
    )
    yield (
        "torch_rebuild_from_type_call",
        lambda m: call(
            "torch._tensor:_rebuild_from_type_v2",
            named("logging:getLogger"),
            named("torch._tensor:Tensor"),
            pair(m),
            EMPTY_DICT,
        ),
        {},
    )
    yield "torch_import", lambda m: call("torch._utils:_import_dotted_name", text("os.mkdir")), {}
    yield "torch_hooks", lambda m: call("torch._utils:_rebuild_parameter", tensor(b"\0" * 4, 1), b"\x88", mapping(x=NONE)), {}
    yield "hydra_instantiate", lambda m: call("hydra.utils:instantiate", mapping(_target_=text("os.makedirs"), name=m)), {}
    yield "hydra_get_method", lambda m: call(call("hydra.utils:get_method", text("os.mkdir")), m), FIRES
    yield "logging_config", lambda m: call("logging.config:dictConfig", EMPTY_DICT), {}
    yield "ctypes", lambda m: call("ctypes:CDLL", NONE), {}
    yield "codecs", lambda m: call("_codecs:encode", text("a"), text("rot13")), {}
    yield (
        "zone",
        lambda m: call(
            call("builtins:getattr", named("zoneinfo:ZoneInfo"), text("_unpickle")), text("../../etc/passwd"), b"\x88"
        ),
        {},
    )


def nested() -> Rows:
    """Pickles in pickles, and other formats that run."""
    for loader in ("pickle:loads", "_pickle:loads", "pickle:_loads"):
        yield loader.replace(":", "_"), lambda m, f=loader: call(f, data(whole(call("os:mkdir", m)))), FIRES
    yield "unpickler", lambda m: call("_pickle:Unpickler", call("_io:BytesIO", data(b"N."))), {}
    yield "marshal", lambda m: call("marshal:loads", data(b"N")), {}
    yield "types_code", lambda m: call("types:FunctionType", call("marshal:loads", data(b"N")), EMPTY_DICT), {}
    yield "shelve", lambda m: call("shelve:open", m), {}
    yield "second_pickle", lambda m: whole(NONE)[:-1] + b"0" + call("os:mkdir", m) + STOP, RAW

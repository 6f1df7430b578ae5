"""Samples that run something: opcodes that call, and names that lead to what can be called."""

from typing import Any

from tests.hostile.assemble import (
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FIRES,
    MARK,
    NAMESPACE,
    NONE,
    POP,
    REDUCE,
    Rows,
    call,
    data,
    listed,
    mapping,
    named,
    number,
    pair,
    text,
)


def calls() -> Rows:
    """Opcodes that call."""
    for function in ("os:mkdir", "posix:mkdir", "os:makedirs"):
        yield f"reduce_{function.replace(':', '_')}", lambda m, f=function: call(f, m), FIRES
    yield "reduce_system", lambda m: call("os:system", text("mkdir " + m[2:].decode("utf-8", "replace"))), {}
    yield "reduce_exec", lambda m: call("builtins:exec", text("import os; os.mkdir(x)"), mapping(x=m)), FIRES
    yield "reduce_eval", lambda m: call("builtins:eval", text("__import__('os').mkdir(x)"), mapping(x=m)), FIRES
    yield "reduce_open", lambda m: call("builtins:open", m, text("w")), FIRES
    yield "reduce_io_open", lambda m: call("_io:open", m, text("w")), FIRES
    yield "reduce_fileio", lambda m: call("_io:FileIO", m, text("w")), FIRES
    yield "reduce_popen", lambda m: call("subprocess:check_call", listed(text("mkdir"), m)), FIRES
    yield "reduce_class", lambda m: call("logging:FileHandler", m), FIRES
    yield "reduce_map", lambda m: call("builtins:list", call("builtins:map", named("os:mkdir"), listed(m))), FIRES
    yield "reduce_apply", lambda m: call("functools:reduce", named("os:mkdir"), listed(m, number(0o700))), FIRES
    yield "reduce_partial", lambda m: call(call("functools:partial", named("os:mkdir"), m)), FIRES
    yield "reduce_thread", lambda m: call("_thread:start_new_thread", named("os:mkdir"), pair(m)), {}
    yield "reduce_finalize", lambda m: call("weakref:finalize", NAMESPACE, named("os:mkdir"), m) + POP + NONE, {}
    yield "reduce_runner_function", lambda m: call("runner.cli.run:main"), {}
    yield "reduce_runner_class", lambda m: call("runner.snapshots.stores.file:FileStore", m), {}
    yield "reduce_own_class", lambda m: call("tests.own:Plain", m), {"message": "unless it is registered"}
    yield "reduce_own_function", lambda m: call("tests.own:unregistered", m), {"fires": True, "message": "registered"}
    yield "reduce_instance", lambda m: call(NAMESPACE, m), {}
    yield "reduce_no_tuple", lambda m: named("collections:OrderedDict") + EMPTY_LIST + REDUCE, {}
    yield (
        "newobj",
        lambda m: (
            named("builtins:tuple") + pair(named("builtins:map") + pair(named("os:mkdir"), listed(m)) + b"\x81") + b"\x81"
        ),
        FIRES,
    )
    yield (
        "newobj_ex",
        lambda m: (
            named("builtins:tuple")
            + pair(named("builtins:map") + pair(named("os:mkdir"), listed(m)) + EMPTY_DICT + b"\x92")
            + EMPTY_DICT
            + b"\x92"
        ),
        FIRES,
    )
    yield "newobj_map_only", lambda m: named("builtins:map") + pair(named("tests.own:make_deferred"), listed(m)) + b"\x81", {}
    yield "newobj_metaclass", lambda m: named("tests.own:Meta") + pair(text("x"), EMPTY_TUPLE, EMPTY_DICT) + b"\x81", {}
    yield "newobj_table_arguments", lambda m: named("torch.nn.modules.linear:Linear") + pair(number(1)) + b"\x81", {}
    yield "newobj_data_class", lambda m: named("builtins:object") + EMPTY_TUPLE + b"\x81", {}
    yield "newobj_function", lambda m: named("logging:getLogger") + EMPTY_TUPLE + b"\x81", {"message": r"logging\.getLogger"}
    yield "newobj_instance", lambda m: NAMESPACE + EMPTY_TUPLE + b"\x81", {}
    yield "newobj_list", lambda m: named("tests.own:Plain") + EMPTY_LIST + b"\x81", {}
    yield "inst", lambda m: MARK + m + b"iposix\nmkdir\n", FIRES
    yield "obj", lambda m: MARK + named("logging:FileHandler") + m + b"o", FIRES
    yield "global", lambda m: b"cposix\nmkdir\n" + pair(m) + REDUCE, FIRES
    yield "append", lambda m: NAMESPACE + mapping(append=named("os:mkdir")) + BUILD + m + b"a", FIRES
    yield (
        "appends",
        lambda m: NAMESPACE + mapping(extend=named("subprocess:check_call")) + BUILD + MARK + text("mkdir") + m + b"e",
        FIRES,
    )
    yield "additems", lambda m: NAMESPACE + mapping(add=named("os:mkdir")) + BUILD + MARK + m + b"\x90", FIRES
    yield "setitem", lambda m: named("os:environ") + m + text("1") + b"s", {}
    yield "setitems_modules", lambda m: named("sys:modules") + MARK + text("evil") + named("os:path") + b"u", {}
    yield "setitem_of_function", lambda m: named("tests.own:scaled") + m + NONE + b"s", {}
    yield "append_to_tuple", lambda m: EMPTY_TUPLE + NONE + b"a", {}
    yield "additems_to_list", lambda m: EMPTY_LIST + MARK + NONE + b"\x90", {}
    yield "persid", lambda m: b"Pevil\n", {}
    yield "binpersid", lambda m: m + b"Q", {}
    for name, opcode in (("ext1", b"\x82\x01"), ("ext2", b"\x83\x01\x00"), ("ext4", b"\x84\x01\x00\x00\x00")):
        yield (
            name,
            lambda m, o=opcode: (
                call("copyreg:add_extension", text("posix"), text("mkdir"), number(1)) + POP + o + pair(m) + REDUCE
            ),
            FIRES,
        )
    others = {
        "dup": b"N2",
        "next_buffer": b"\x97",
        "readonly_buffer": b"N\x98",
        "string": b"S'a'\n",
        "unicode": b"Va\n",
        "int": b"I1\n",
    }
    others |= {
        "long": b"L1L\n",
        "float": b"F1\n",
        "binstring": b"T\0\0\0\0",
        "short_binstring": b"U\0",
        "list": b"(l",
        "dict": b"(d",
    }
    others |= {
        "put": b"Np0\n",
        "binput": b"Nq\0",
        "long_binput": b"Nr\0\0\0\0",
        "get": b"N\x94g0\n",
        "zero": b"N\0",
        "proto": b"\x80\x05N",
    }
    for name, body in others.items():
        yield f"opcode_{name}", lambda m, b=body: b, {"message": "opcode"}


def dotted() -> Rows:
    """Names that lead from an innocent module to another."""
    chains = (
        *("random:_os.mkdir", "gzip:os.mkdir", "pathlib:os.mkdir", "logging:os.mkdir", "tempfile:_os.mkdir", "shutil:os.mkdir"),
        *("collections:_sys.modules", "uuid:os.mkdir", "numpy:os.mkdir", "torch:os.mkdir", "torch.serialization:os.mkdir"),
        *(
            "torch.storage:os.mkdir",
            "hydra.utils:os.mkdir",
            "omegaconf.omegaconf:os.mkdir",
            "zstandard:os.mkdir",
            "snappy:os.mkdir",
        ),
        *(
            "numpy._core._methods:os.mkdir",
            "runner.launcher:os.mkdir",
            "runner.snapshots.capture.writer:os.mkdir",
            "tests.own:os.mkdir",
        ),
        *("runner.snapshots.stores.file:os.mkdir", "tests.own:Bound.__init__.__globals__.get", "runner.cli.job:shlex.os.mkdir"),
        *("runner.snapshots.restoring.restore:Path.mkdir", "pathlib:Path.mkdir", "tests.own:Plain.__init__.__builtins__"),
    )
    for number_, chain in enumerate(chains):
        fires = chain.endswith(("os.mkdir", "Path.mkdir")) and resolves(chain)
        argument = (lambda m: call("pathlib:PosixPath", m)) if "Path.mkdir" in chain else (lambda m: m)
        name = f"{number_}_" + chain.replace(":", "_").replace(".", "_")
        yield name, lambda m, c=chain, a=argument: call(c, a(m)), {"fires": fires, "message": "names"}


def resolves(name: str) -> bool:
    """Whether Python finds the name here: libraries differ in what they import."""
    module, _, path = name.partition(":")
    try:
        value: Any = __import__(module, fromlist=["x"])
        for part in path.split("."):
            value = getattr(value, part)
    except (ImportError, AttributeError):
        return False
    return True


def reexported() -> Rows:
    """Names of other modules' things, without a dot."""
    yield "function", lambda m: call("tests.own:make_folder", m), {"fires": True, "message": "no class that is defined there"}
    yield "class", lambda m: call("tests.own:Process", listed(text("mkdir"), m)), {"message": "no class that is defined there"}
    yield "module", lambda m: call("tests.own:os", m), {"message": "no class that is defined there"}
    yield "unregistered", lambda m: call("tests.own:unregistered", m), {"fires": True, "message": "snapshot_safe"}
    yield "runner_os", lambda m: named("runner.launcher:os"), {"message": "names"}
    yield "runner_pickle", lambda m: named("runner.snapshots.capture.pickler:pickle"), {}
    yield "runner_function", lambda m: call("runner.snapshots.restoring.restore:restore", m), {}
    yield "runner_path", lambda m: call("runner.snapshots.restoring.restore:Path", m), {}
    yield "runner_main", lambda m: named("runner.__main__:main"), {}
    yield "own_main", lambda m: named("tests.own.__main__:main"), {}
    yield "undeclared", lambda m: named("tests.hostile:Sample"), {"message": r"restore\.trusted=\[tests\.hostile\]"}
    yield "undeclared_stdlib", lambda m: named("subprocess:Popen"), {"message": "which is not allowed, at byte"}
    yield "prefix", lambda m: named("tests.owner:Plain"), {"message": r"restore\.trusted=\[tests\.owner\]"}
    yield "runner_prefix", lambda m: named("runners.graph:Unit"), {}
    yield "no_module", lambda m: named(":mkdir"), {}
    yield "odd_module", lambda m: named("os\0:mkdir"), {}
    yield "odd_name", lambda m: named("tests.own:Pl\udc80ain"), {}
    yield "long_name", lambda m: text("a" * 60_000) + text("b" * 60_000) + b"\x93", {}
    yield "bytes_name", lambda m: data(b"os") + data(b"mkdir") + b"\x93", {"message": "a name is not text"}
    yield "str_subclass", lambda m: named("tests.own:Label") + pair(text("os")) + b"\x81" + text("mkdir") + b"\x93", {}
    yield "runner_class", lambda m: named("runner.graph.unit:Unit"), {"message": "names"}
    yield "kept_function", lambda m: listed(named("logging:getLogger")), {"message": "keeps"}
    yield "kept_function_alone", lambda m: named("builtins:getattr"), {"message": "keeps"}

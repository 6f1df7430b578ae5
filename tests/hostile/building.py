"""Samples that give states to what should have none, or wrong ones."""

from tests.hostile.assemble import (
    BUILD,
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    FIRES,
    NAMESPACE,
    NONE,
    Rows,
    call,
    data,
    instance,
    listed,
    mapping,
    named,
    number,
    ours,
    pair,
    text,
)


def states() -> Rows:
    """BUILD in its forms."""
    partial = call("functools:partial", named("tests.own:scaled"))
    yield "setstate_in_dict", lambda m: NAMESPACE + mapping(__setstate__=named("os:mkdir")) + BUILD + m + BUILD, FIRES
    yield "setstate_in_own", lambda m: instance("Plain") + mapping(__setstate__=named("os:mkdir")) + BUILD + m + BUILD, FIRES
    yield (
        "setstate_in_slots",
        lambda m: NAMESPACE + pair(NONE, mapping(__setstate__=named("os:mkdir"))) + BUILD + m + BUILD,
        FIRES,
    )
    yield (
        "on_class",
        lambda m: (
            named("tests.own:BySlots")
            + pair(NONE, mapping(__setstate__=call("functools:partial", named("os:mkdir"), m)))
            + BUILD
            + EMPTY_TUPLE
            + b"\x81"
            + number(0o755)
            + BUILD
            + named("tests.own:BySlots")
            + pair(NONE, mapping(__setstate__=NONE))
            + BUILD
        ),
        {},
    )
    yield "on_class_uuid", lambda m: named("uuid:UUID") + pair(NONE, mapping(x=NONE)) + BUILD, {"message": "state"}
    yield "on_function", lambda m: named("tests.own:scaled") + mapping(x=NONE) + BUILD, {"message": "state"}
    yield "on_module_dict", lambda m: call("builtins:dict") + mapping(x=NONE) + BUILD, {}
    yield "on_enum", lambda m: call("tests.own:Colour", text("red")) + mapping(_value_=m) + BUILD, {"message": "state"}
    yield "on_list", lambda m: EMPTY_LIST + mapping(x=NONE) + BUILD, {"message": "state"}
    yield (
        "on_logger",
        lambda m: call("logging:getLogger", text("x")) + mapping(handlers=EMPTY_LIST) + BUILD,
        {"message": "state"},
    )
    yield "dunder", lambda m: instance("Plain") + mapping(__class__=named("tests.own:Point")) + BUILD, {"message": "__class__"}
    yield "dunder_in_unit", lambda m: instance("Doubler") + mapping(__dict__=EMPTY_DICT) + BUILD, {"message": "__dict__"}
    yield "no_text_key", lambda m: instance("Plain") + EMPTY_DICT + number(1) + NONE + b"s" + BUILD, {}
    yield (
        "hidden_method",
        lambda m: (
            named("torch.nn.modules.linear:Linear") + EMPTY_TUPLE + b"\x81" + mapping(forward=named("builtins:int")) + BUILD
        ),
        {"message": "hides 'forward'"},
    )
    yield (
        "hidden_runner_method",
        lambda m: ours("Unit") + EMPTY_TUPLE + b"\x81" + mapping(run=named("builtins:int")) + BUILD,
        {"message": "hides"},
    )
    method = named("tests.own:scaled")
    flow = ours("Workflow") + EMPTY_TUPLE + b"\x81"
    fake = NAMESPACE + mapping(set_attributes=method, init_unpickled=method) + BUILD
    for name, own, shells in (
        ("fake_shell", mapping(units=EMPTY_LIST), listed(fake)),
        ("fake_unit", mapping(units=listed(fake)), EMPTY_LIST),
        ("hidden_protocol", mapping(units=EMPTY_LIST, init_unpickled=method), EMPTY_LIST),
    ):
        versions = listed(number(1), number(1))
        state = mapping(own=own, shells=shells, states=listed(EMPTY_DICT), versions=versions, random_states=NONE)
        yield f"workflow_{name}", lambda m, s=state: flow + s + BUILD, {"message": "units|hides|built"}
    yield (
        "hidden_in_declared",
        lambda m: instance("Doubler") + mapping(init_unpickled=method) + BUILD,
        {"message": "hides 'init_unpickled'"},
    )
    yield (
        "method_of_store",
        lambda m: call(
            "builtins:getattr",
            named("runner.snapshots.stores.file:FileStore") + EMPTY_TUPLE + b"\x81",
            text("delete"),
        ),
        {"message": "names"},
    )
    yield (
        "text_by_codec",
        lambda m: named("tests.own:Label") + pair(data(b"a"), text("os")) + b"\x81",
        {"message": "wrong arguments"},
    )
    yield (
        "tuple_of_range",
        lambda m: named("tests.own:Row") + pair(call("builtins:range", number(1 << 40))) + b"\x81",
        {"message": "wrong arg"},
    )
    yield "no_dict", lambda m: instance("Plain") + EMPTY_LIST + BUILD, {}
    yield "no_attributes", lambda m: instance("BySlots") + mapping(x=NONE) + BUILD, {}
    yield "slot_of_method", lambda m: instance("BySlots") + pair(NONE, mapping(__init__=NONE)) + BUILD, {"message": "slot"}
    yield (
        "slot_of_property",
        lambda m: ours("Bool") + EMPTY_TUPLE + b"\x81" + pair(NONE, mapping(on_true=NONE)) + BUILD,
        {},
    )
    yield "slots_no_dict", lambda m: instance("BySlots") + pair(NONE, EMPTY_LIST + NONE + b"a") + BUILD, {}
    yield "link_to_dunder", lambda m: instance("Doubler") + mapping(__module__=NONE) + BUILD, {"message": "__module__"}
    yield "partial_function", lambda m: call(partial + pair(named("os:mkdir"), pair(m), EMPTY_DICT, NONE) + BUILD), FIRES
    yield "partial_called", lambda m: call(partial, number(1)), {"message": "names"}
    yield (
        "partial_of_method",
        lambda m: call("functools:partial", call("builtins:getattr", instance("Bound"), text("call"))),
        {"message": "partial"},
    )
    yield "partial_of_call", lambda m: call("functools:partial", named("logging:getLogger")), {"message": "partial"}
    yield "partial_state", lambda m: partial + pair(named("tests.own:scaled"), EMPTY_LIST, NONE, NONE) + BUILD, {}
    yield (
        "partial_attributes",
        lambda m: partial + pair(named("tests.own:scaled"), EMPTY_TUPLE, NONE, mapping(x=NONE)) + BUILD,
        {},
    )
    yield "partial_state_short", lambda m: partial + EMPTY_TUPLE + BUILD, {}
    yield "uuid", lambda m: named("uuid:UUID") + EMPTY_TUPLE + b"\x81" + mapping(int=m) + BUILD, {}
    yield "uuid_large", lambda m: named("uuid:UUID") + EMPTY_TUPLE + b"\x81" + mapping(int=number(1 << 200)) + BUILD, {}
    yield (
        "uuid_safety",
        lambda m: named("uuid:UUID") + EMPTY_TUPLE + b"\x81" + mapping(int=number(1), is_safe=EMPTY_LIST) + BUILD,
        {},
    )

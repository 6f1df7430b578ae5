"""What is typed, as Hydra understands it."""

import string

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from runner.cli.overrides import normalize, repeated
from runner.config.config import Config
from runner.errors import ConfigError

LITERAL = [
    "DRIVER={MySQL};SERVER=localhost;DATABASE=test;UID=test",
    'DRIVER={ODBC Driver 18};APP=it\'s "quoted", {braced}} and spaced ',
    "a=b",
    "/data/lr=0.1/x.pickle.gz",
    "odbc://DSN=x;UID=y&veles&id&log",
    "x'y=",
    "x\\'y=",
    "x\\\\'y=",
    "=\\",
    "=\\\\",
    "=\\\n",
    "$HOME=$x",
    "(",
    "[1",
    "{a",
    "run (copy).pickle",
    " =x ",
]
UNTOUCHED = [
    "decision.max_epochs=5",
    "decision.max_epochs=1,2,3",
    "layer=choice(a,b)",
    "loader.minibatch_size=range(1,5)",
    "seed=null",
    "a.b=[1,2,{c:d}]",
    "a.b={c: 1, d: [2]}",
    "a='quoted = value'",
    "a=${oc.env:HOME}",
    "a=${b}/c",
    "hydra.run.dir=outputs/${now:%Y-%m-%d}",
    "+a=1",
    "++a=1",
    "~a",
    "a=",
    "a=validation_1.48_train_0.05.5.pickle.gz",
    "snapshotter.prefix=two words",
    "--cfg",
    "-m",
    "--help",
    "install=bash",
]


@pytest.mark.parametrize(
    "key",
    [
        *("data", "output", "graph", "init_from", "device", "workflow.name", "loader.data_dir", "loader.data_file"),
        *("loader.validation_dir", "loader.validation_file", "snapshotter.directory", "snapshotter.odbc", "snapshotter.prefix"),
        *("snapshotter.key", "restore.key", "loggers.tensorboard.folder", "hydra.run.dir", "hydra.sweep.dir", "+data"),
    ],
)
@pytest.mark.parametrize("blanks", ["", " "])
def test_an_empty_text_is_refused(key: str, blanks: str) -> None:
    """Of `data=$FILE`, a shell leaves this if there is no such variable."""
    with pytest.raises(ConfigError, match=rf"^{key.lstrip('+')}= is empty"):
        normalize(["conf=mnist", f"{key}={blanks}"])


@pytest.mark.parametrize(
    "typed", ["snapshotter.spool=", "snapshotter.compression=", "loader.train.folder=", "workflow.text=", "a="]
)
def test_an_empty_text_may_be_meant(typed: str) -> None:
    assert parsed(normalize([typed])[0]) == ""


def parsed(argument: str) -> object:
    """Returns what the configuration will hold."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    return OmegaConf.create({"value": override.value()}).value


@pytest.mark.parametrize("value", LITERAL)
@pytest.mark.parametrize("key", ["loader.name", "snapshot", "+new.key"])
def test_what_hydra_cannot_read_is_taken_literally(key: str, value: str) -> None:
    (argument,) = normalize([f"{key}={value}"])
    assert argument.startswith(f"{key}='")
    assert parsed(argument) == value


@pytest.mark.parametrize("argument", UNTOUCHED)
def test_what_hydra_can_read_is_left_alone(argument: str) -> None:
    assert normalize([argument]) == [argument]


@given(st.text(string.ascii_letters + string.digits + "=;{}[](),:'\"\\ .-_/%&|<>!?*#@~^`+\n\té", max_size=30))
def test_any_text_is_understood_by_hydra_or_taken_literally(value: str) -> None:
    assume(value.strip() and not value.startswith("~/"))  # which are refused
    (argument,) = normalize([f"loader.name={value}"])
    (override,) = OverridesParser.create().parse_overrides([argument])
    # Items of a sweep and of a list are texts of their own.
    if argument != f"loader.name={value}" and not override.is_sweep_override() and not isinstance(override.value(), list):
        assert override.value() == value


def test_a_typed_password_does_not_reach_hydra() -> None:
    (argument,) = normalize(["snapshotter.odbc=DSN=x;UID=me;PWD=se{cr}et"])
    assert parsed(argument) == "DSN=x;UID=me;PWD=***"


def test_interpolations_work_within_what_is_taken_literally(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VELES_PASSWORD", "secret")
    (argument,) = normalize(["snapshotter.directory=UID=me;PWD=${oc.env:VELES_PASSWORD}"])
    assert parsed(argument) == "UID=me;PWD=secret"


@pytest.mark.parametrize(
    "arguments",
    [
        ["snapshot=FILE"],
        ["+snapshot=FILE"],
        ["++snapshot=FILE"],
        ["--snapshot", "FILE"],
        ["--snapshot=FILE"],
        ["-w", "FILE"],
        ["-w=FILE"],
    ],
)
def test_every_spelling_of_snapshot_is_the_same(arguments: list[str]) -> None:
    assert normalize(["conf=mnist", *arguments, "seed=1"]) == ["conf=mnist", "snapshot=FILE", "seed=1"]


def test_a_path_with_an_equals_sign_can_follow_the_flag() -> None:
    (argument,) = normalize(["-w", "multirun/lr=0.1,seed=3/x.pickle.gz"])
    assert parsed(argument) == "multirun/lr=0.1,seed=3/x.pickle.gz"


@pytest.mark.parametrize("flag", ["--snapshot", "-w"])
@pytest.mark.parametrize("value", [[], [""]])
def test_the_flag_needs_a_value(flag: str, value: list[str]) -> None:
    with pytest.raises(ConfigError, match=f"{flag} needs a value: {flag} FILE"):
        normalize([flag, *value])


@pytest.mark.parametrize("argument", ["snapshot=", "+snapshot=", "snapshot= "])
def test_an_empty_snapshot_is_no_fresh_start(argument: str) -> None:
    with pytest.raises(ConfigError, match="snapshot= names no snapshot: snapshot=FILE, snapshot=latest or snapshot=auto"):
        normalize([argument])


@pytest.mark.parametrize("others", [["-w", "b"], ["+snapshot=b"], ["snapshot=b"], ["--snapshot=b"]])
def test_two_sources_of_snapshot_are_refused(others: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"snapshot is given 2 times \(snapshot=a, snapshot=b\): give one"):
        normalize(["snapshot=a", *others])


def test_keys_of_layers_need_no_plus() -> None:
    assert normalize(["layers.fc1.learning_rate=0.1", "+layers.fc1.x=1", "~layers.fc1", "optimizer.lr=1"]) == [
        *("++layers.fc1.learning_rate=0.1", "+layers.fc1.x=1", "~layers.fc1", "++optimizer.lr=1")
    ]


@pytest.mark.parametrize("flag", ["--config-dir", "-cd", "--cfg", "-c", "--package", "-p"])
def test_the_value_of_a_flag_is_no_override(flag: str) -> None:
    assert normalize([flag, "job", "a=b=c"]) == ["a='b=c'", flag, "job"]


def mappings(node: DictConfig, path: str = "") -> list[str]:
    """Returns the keys of the schema whose own keys are the user's."""
    found = []
    for name in node:
        value = node[name]
        if isinstance(value, DictConfig):
            here = f"{path}{name}"
            found += [here] if OmegaConf.get_type(value) is dict else mappings(value, f"{here}.")
    return found


def test_every_mapping_whose_keys_are_the_users_can_be_typed() -> None:
    found = mappings(OmegaConf.structured(Config))
    assert {"workflow", "optimizer", "restore.renamed"} <= set(found)
    for key in found:
        assert normalize([f"{key}={{a: b}}"]) == [f"++{key}={{a: b}}"]


def test_a_key_with_several_values_is_told() -> None:
    typed = ["a.b=1", "++layers.x=1", "seed=3", "a.b=2", "layers.x=1", "seed=3", "~a.b", "a.b=1", "--cfg", "job"]
    assert repeated(typed) == {"a.b": ["1", "2", "1"]}
    assert repeated(normalize(["mnist", "seed=1", "+seed=2"])) == {"seed": ["1", "2"]}

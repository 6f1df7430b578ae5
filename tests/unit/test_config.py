import ast
import itertools
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from runner import config
from runner.config import Config, LossFunction, SnapshotterConfig, from_hydra, layer_sides, normalized_layers, plain
from runner.config.layers import network, spellings
from runner.config.layers.schema import LAYER_CONFIGS, All2AllForwardConfig
from runner.config.layers.weighted_layers import Distribution, GradientConfig
from runner.config.loading import LoaderConfig
from runner.config.training import LearningRateConfig
from runner.errors import ConfigError
from runner.nn.evaluators.loss_functions import EVALUATORS
from runner.nn.layers.layer_types import LAYERS
from runner.nn.loading.loader_types import LOADERS
from runner.nn.schedule import POLICIES
from runner.snapshots.codecs import CODECS

FLAT = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 100, "weights_stddev": 0.05, "learning_rate": 0.3},
    "out": {"type": "softmax", "output_sample_shape": [10], "gradient_momentum": 0.9},
}
VELES = [
    {
        "name": "fc1",
        "type": "all2all_tanh",
        "->": {"output_sample_shape": 100, "weights_stddev": 0.05},
        "<-": {"learning_rate": 0.3},
    },
    {"name": "out", "type": "softmax", "->": {"output_sample_shape": [10]}, "<-": {"gradient_moment": 0.9}},
]


def merged(**values: object) -> Config:
    """Composes a configuration as Hydra does."""
    return from_hydra(OmegaConf.merge(OmegaConf.structured(Config), values))


def test_veles_form_and_the_flat_form_are_the_same() -> None:
    assert normalized_layers(VELES) == normalized_layers(FLAT) == normalized_layers(OmegaConf.create(VELES))


def test_normalized_layers_have_all_forward_settings_and_stay_as_they_are() -> None:
    layers = normalized_layers(FLAT)
    assert list(layers) == ["fc1", "out"]
    assert layers["fc1"]["type"] == "all2all_tanh"
    assert (layers["fc1"]["weights_filling"], layers["fc1"]["learning_rate"]) == ("uniform", 0.3)
    assert "weights_decay" not in layers["fc1"]
    assert layers["out"]["output_sample_shape"] == [10]
    assert normalized_layers(layers) == layers


@pytest.mark.parametrize("layers", [None, {}, []])
def test_no_layers_are_no_layers(layers: object) -> None:
    assert normalized_layers(layers) == {}
    assert merged(layers=layers).layers == {}


@pytest.mark.parametrize("layers", [FLAT, VELES])
def test_both_forms_merge_with_the_schema(layers: object) -> None:
    assert merged(layers=layers).layers == normalized_layers(layers)


def test_layers_without_a_name_are_called_by_type_and_position() -> None:
    layers = [{"type": "all2all", "->": {"output_sample_shape": 3}}, {"type": "dropout"}]
    assert list(normalized_layers(layers)) == ["all2all1", "dropout2"]


def test_a_mapping_may_have_arrows_and_a_flat_key_goes_before() -> None:
    layer = {"type": "all2all", "->": {"output_sample_shape": 3}, "<-": {"learning_rate": 0.3}, "learning_rate": 0.5}
    assert normalized_layers({"fc": layer})["fc"]["learning_rate"] == 0.5


def test_a_name_that_is_a_number_is_text() -> None:
    assert list(normalized_layers({1: {"type": "dropout"}})) == ["1"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"a": {"type": "fc"}}, "layers.a.type='fc' is not a type of layer; known: activation_log, .*, all2all, .*, softmax"),
        ({"a": {"type": ["dropout"]}}, r"layers.a.type=\['dropout'\] is not a type of layer"),
        ({"a": {"type": "dropout"}, "b": {"x": 1}}, "layers.b has no type: give layers.b.type, or name one of the layers a"),
        (
            {"a": {"type": "dropout", "ratio": 1}},
            "layers.a.ratio is not a key of a 'dropout' layer; did you mean 'dropout_ratio'. known: dropout_ratio",
        ),
        ({"a": {"type": "dropout", 5: 1}}, "layers.a.5 is not a key"),
        ({"a": {"type": "dropout", "learning_rate": 1}}, "layers.a.learning_rate is not a key of a 'dropout' layer"),
        ({"a": 5}, "layers.a=5 must be a mapping of settings"),
        ({"a": {"type": "softmax", "->": 3}}, "layers.a.->=3 must be a mapping of settings"),
        ([5], "layers has 5, which is not a mapping with a type"),
        (
            [{"type": "dropout", "name": "x"}, {"type": "dropout", "name": "x"}],
            "two layers named 'x': give each its own name",
        ),
        ("fc1", "layers='fc1' must be a mapping from names to settings, or a list"),
        (7, "layers=7 must be a mapping"),
        (
            {"a": {"type": "all2all"}},
            "layers.a: output_sample_shape is missing: it must be a positive integer, or a list of such",
        ),
        (
            {"a": {"type": "softmax", "output_sample_shape": 3, "learning_rate": "x"}},
            "layers.a.learning_rate='x' is wrong: Value 'x'",
        ),
        (
            {"a": {"type": "softmax", "output_sample_shape": 3, "weights_filling": "x"}},
            r"layers.a.weights_filling='x' is wrong: .* \[uniform, gaussian, constant\]",
        ),
    ],
)
def test_wrong_layers_are_refused(layers: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        normalized_layers(layers)


@pytest.mark.parametrize("name", [*spellings.TYPES, *(name for names in spellings.KEYS.values() for name in names)])
def test_other_spellings_are_read_with_a_notice(name: str, caplog: pytest.LogCaptureFixture) -> None:
    network._say.cache_clear()
    layer = {"type": name} | ({"n_kernels": 2} if "conv" in name else {"output_sample_shape": 2} if "all2all" in name else {})
    if name not in spellings.TYPES:
        layer = {"type": "softmax", name: 0.9}
    (normalized,) = normalized_layers({"a": layer}).values()
    assert name not in (*normalized, *normalized.values())
    (notice,) = caplog.messages
    assert notice.startswith("layers.a.")
    assert name in notice


def test_both_spellings_of_a_key_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"layers.a.gradient_moment=0.5 and gradient_momentum=0.9 .*: use gradient_momentum"):
        normalized_layers({"a": {"type": "softmax", "gradient_momentum": 0.9, "gradient_moment": 0.5}})


def test_batch_normalization_and_modules_have_a_momentum_of_their_own() -> None:
    layers = normalized_layers(
        {
            "a": {"type": "batch_norm", "momentum": 0.2, "gradient_momentum": 0.9},
            "b": {"_target_": "torch.nn.BatchNorm1d", "momentum": 0.2, "gradient_momentum": 0.9},
        }
    )
    for layer in layers.values():
        assert (layer["momentum"], layer["gradient_momentum"]) == (0.2, 0.9)
    assert layer_sides(layers["b"])[0]["module"]["momentum"] == 0.2


@pytest.mark.parametrize("arrow", ["->", "<-"])
def test_relu_in_veles_form_is_refused(arrow: str) -> None:
    layers = [{"type": "activation_relu"}, {"type": "dropout", arrow: {}}, {"type": "softmax"}]
    with pytest.raises(
        ConfigError, match=rf"layers.activation_relu1.type='activation_relu' .*'activation_softplus'.* instead of {arrow}"
    ):
        normalized_layers(layers)
    assert normalized_layers([{"type": "activation_relu"}])["activation_relu1"]["type"] == "activation_relu"


@pytest.mark.parametrize("shape", [0, -1, 1.5, "x", True, [], [3, 0], [2, True], None])
def test_a_wrong_shape_is_refused(shape: object) -> None:
    with pytest.raises(ConfigError, match=r"output_sample_shape.* must be a positive integer, or a list of such"):
        All2AllForwardConfig(output_sample_shape=shape)


@pytest.mark.parametrize("suffix", ["", "_bias"])
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("learning_rate", -0.1, "must be between 0 and 3.4e"),
        ("learning_rate", float("inf"), "must be between 0 and 3.4e"),
        ("learning_rate", float("nan"), "must be between 0 and 3.4e"),
        ("weights_decay", -1, "must be between 0 and"),
        ("l1_vs_l2", 1.1, "must be between 0 and 1"),
        ("l1_vs_l2", -0.1, "must be between 0 and 1"),
        ("gradient_momentum", 1.0, "must be at least 0 and below 1"),
        ("gradient_momentum", -0.1, "must be at least 0 and below 1"),
    ],
)
def test_settings_of_the_backward_side_are_checked(name: str, suffix: str, value: float, message: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}{suffix}={value} {message}"):
        GradientConfig(**{name + suffix: value})


@pytest.mark.parametrize("what", ["weights", "bias"])
def test_a_negative_size_of_a_random_filling_is_refused(what: str) -> None:
    with pytest.raises(ConfigError, match=f"{what}_stddev=-1 must not be negative, unless {what}_filling is constant"):
        All2AllForwardConfig(output_sample_shape=1, **{f"{what}_stddev": -1})
    All2AllForwardConfig(output_sample_shape=1, **{f"{what}_stddev": -1, f"{what}_filling": Distribution.constant})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"policy": "warmup"},
            "lr_adjuster.policy='warmup' is unknown; known: arbitrary_step, cosine, exp, fixed, inv, step_exp",
        ),
        ({"policy": "exp"}, "lr_adjuster.policy='exp' needs lr_adjuster.gamma"),
        ({"policy": "fixed", "gamma": 1.0}, "lr_adjuster.gamma does not belong to lr_adjuster.policy='fixed'"),
        ({"policy": "step_exp", "gamma": 1.0, "step": 0}, r"lr_adjuster.step=0 must be at least 1 \(epochs\)"),
        ({"policy": "cosine", "period": 0}, r"lr_adjuster.period=0 must be at least 1 \(epochs\)"),
        (
            {"policy": "arbitrary_step", "lrs_with_lengths": [[1, 2], 3]},
            r"lr_adjuster.lrs_with_lengths has 3, which is not a pair",
        ),
        ({"policy": "arbitrary_step", "lrs_with_lengths": [[1]]}, r"lrs_with_lengths has \[1\], which is not a pair"),
        ({"policy": "arbitrary_step", "lrs_with_lengths": [["a", 2]]}, r"lrs_with_lengths has \['a', 2\], which is not a pair"),
        ({"policy": "arbitrary_step", "lrs_with_lengths": [[1, 0]]}, r"lrs_with_lengths has \[1, 0\], which is not a pair"),
        ({"policy": "arbitrary_step", "lrs_with_lengths": []}, "policy='arbitrary_step' needs lr_adjuster.lrs_with_lengths"),
    ],
)
def test_wrong_learning_rate_policies_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LearningRateConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "table"}, "loader.name='table' needs loader.data_file"),
        ({"name": "cifar10"}, "loader.name='cifar10' needs loader.data_dir"),
        ({"name": "wine", "data_dir": "x"}, "loader.data_dir does not belong to loader.name='wine'"),
        ({"name": "mnist", "grayscale": True}, "loader.grayscale does not belong to loader.name='mnist'"),
        ({"validation_ratio": 1.0}, "loader.validation_ratio=1.0 must be at least 0 and below 1"),
        ({"validation_ratio": -0.1}, "loader.validation_ratio=-0.1 must be at least 0 and below 1"),
        ({"split_seed": -1}, "loader.split_seed=-1 must be at least 0"),
        (
            {"name": "images", "data_dir": "x", "image_size": [3]},
            r"loader.image_size=\[3\] must be \[height, width\] in pixels",
        ),
        ({"name": "images", "data_dir": "x", "image_size": [3, 0]}, r"loader.image_size=\[3, 0\] must be \[height, width\]"),
        (
            {"name": "table", "data_file": "x", "label": 0, "targets": [1]},
            "loader.label and loader.targets exclude one another",
        ),
    ],
)
def test_wrong_loaders_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoaderConfig(**settings)


def test_a_loader_gets_its_own_settings_and_those_of_all() -> None:
    settings = LoaderConfig(name="table", data_file="x", label=0, minibatch_size=5).settings()
    common = (
        "minibatch_size",
        "normalization",
        "train_size",
        "validation_size",
        "validation_ratio",
        "split_seed",
        "shuffle_limit",
    )
    assert settings.keys() == {*common, "data_file", "label"}
    assert (settings["minibatch_size"], settings["label"]) == (5, 0)
    assert LoaderConfig(name="ones_own").settings().keys() == set(common)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"decision": {"max_epochs": 0}}, r"decision.max_epochs=0 must be at least 1 \(epochs\)"),
        ({"decision": {"fail_iterations": 0}}, r"decision.fail_iterations=0 must be at least 1 \(epochs\)"),
        ({"threads": 0}, "threads=0 must be between 1 and"),
        ({"mode": "evaluate"}, "mode=evaluate scores a snapshot: name it with snapshot=FILE or snapshot=latest"),
        ({"snapshotter": {"interval": 0}}, r"snapshotter.interval=0 must be at least 1 \(epochs between snapshots\)"),
        ({"snapshotter": {"time_interval": -1}}, "snapshotter.time_interval=-1.0 must be at least 0"),
        (
            {"snapshotter": {"compression": "lzo"}},
            "snapshotter.compression='lzo' is not a codec; known: bz2, gz, none, snappy, xz, zst",
        ),
        (
            {"snapshotter": {"compression_level": 99}},
            "snapshotter.compression_level=99 is not a level of 'gz', which takes 1 to 9",
        ),
        ({"snapshotter": {"on_error": "ignore"}}, "snapshotter.on_error='ignore' is unknown; known: raise, warn"),
        *(
            ({"snapshotter": {key: low}}, f"snapshotter.{key}={low} must be at least {low + 1}")
            for key, low in {"keep_best": 0, "keep_last": 0, "staging": -1}.items()
        ),
    ],
)
def test_wrong_values_are_refused_before_anything_is_built(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        merged(**values)


@pytest.mark.parametrize(
    "key", ["workflow", "loader", "snapshotter", "layer_defaults", "restore.renamed", "snapshotter.on_signal"]
)
@pytest.mark.parametrize("reference", ["${device}", "${decision}", "${lr_adjuster}"])
def test_a_section_refers_to_nothing_but_such_a_section(key: str, reference: str) -> None:
    node = OmegaConf.structured(Config)
    OmegaConf.update(node, key, reference)
    with pytest.raises(ConfigError, match=rf"^{key}=\$.* does not lead to what {key} has to be$"):
        from_hydra(node)


@pytest.mark.parametrize("key", ["workflow", "layer_defaults", "optimizer", "mcdnnic_parameters"])
def test_a_section_is_no_single_value(key: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}=3 is a single value, and the section has keys below it$"):
        Config(**{key: 3})


def test_a_section_may_refer_to_a_section_of_its_kind() -> None:
    node = OmegaConf.structured(Config(layers={"out": {"type": "softmax", "output_sample_shape": 3}}))
    node.workflow["mine"] = {"learning_rate": 0.5}
    node.layer_defaults = "${workflow.mine}"
    assert from_hydra(node).layers["out"]["learning_rate"] == 0.5


@pytest.mark.parametrize(("key", "enum"), [("mode", "train"), ("precision", "float64"), ("loss_function", "softmax")])
def test_enumerations_take_their_names_only(key: str, enum: str) -> None:
    assert getattr(merged(**{key: enum}), key).value == enum
    with pytest.raises(Exception, match=r"Invalid value 'bogus', expected one of \["):
        merged(**{key: "bogus"})


def test_the_snapshots_codec_can_be_empty_as_in_veles() -> None:
    for name in (None, "", "none", "None"):
        assert SnapshotterConfig(compression=name).codec.name == "none"


def test_a_configuration_survives_being_plain_data() -> None:
    whole = merged(layers=VELES, decision={"max_epochs": 3}, precision="float64")
    again = from_hydra(OmegaConf.merge(OmegaConf.structured(Config), plain(whole)))
    assert again == whole
    assert plain(again) == plain(whole)


def test_tables_agree() -> None:
    assert LAYER_CONFIGS.keys() == LAYERS.keys()
    assert LearningRateConfig.NEEDS.keys() == POLICIES.keys()
    assert LoaderConfig.NEEDS.keys() <= LOADERS.keys()
    assert {loss.value for loss in LossFunction} == EVALUATORS.keys()
    assert SnapshotterConfig().compression in CODECS


MODULES = Path(config.__file__).parent.glob("*.py")
DATACLASSES = [node for path in MODULES for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("cls", DATACLASSES, ids=lambda cls: cls.name)
def test_every_key_is_documented(cls: ast.ClassDef) -> None:
    names = [cls.name for cls in DATACLASSES if ast.get_docstring(cls)]
    for key, text in itertools.pairwise([*cls.body, None]):
        if isinstance(key, ast.AnnAssign) and ast.unparse(key.annotation) not in names:  # a section has its class's docstring
            assert isinstance(text, ast.Expr), f"{cls.name}.{ast.unparse(key.target)}"
            assert isinstance(text.value.value, str)


def test_the_short_form_of_veles_builds_the_same_layers() -> None:
    topology, parameters = "12x256x256-32C4-MP2-64C4-MP3-32N-4N", {"<-": {"learning_rate": 0.03}}
    rate = {"<-": {"learning_rate": 0.03}}
    layers = [
        {"type": "conv", "->": {"n_kernels": 32, "kx": 4, "ky": 4}} | rate,
        {"type": "max_pooling", "->": {"kx": 2, "ky": 2}},
        {"type": "conv", "->": {"n_kernels": 64, "kx": 4, "ky": 4}} | rate,
        {"type": "max_pooling", "->": {"kx": 3, "ky": 3}},
        {"type": "all2all", "->": {"output_sample_shape": 32}} | rate,
        {"type": "softmax", "->": {"output_sample_shape": 4}} | rate,
    ]
    short = merged(mcdnnic_topology=topology, mcdnnic_parameters=parameters)
    assert short.layers == normalized_layers(layers)
    assert list(short.layers) == ["conv1", "max_pooling2", "conv3", "max_pooling4", "all2all5", "softmax6"]
    again = from_hydra(OmegaConf.merge(OmegaConf.structured(Config), plain(short)))
    assert again.layers == short.layers


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mcdnnic_topology": "10N"}, "mcdnnic_topology='10N' must be like 28x28-32C4-MP2-64C4-MP2-800N-10N"),
        ({"mcdnnic_topology": "28x28"}, "mcdnnic_topology='28x28' must be like"),
        ({"mcdnnic_topology": "28x28-3X-10N"}, "has '3X', which is none of 32C4, MP2 and 800N"),
        ({"mcdnnic_topology": "28x28-32C4"}, "must end with the softmax layer, such as 10N"),
        (
            {"mcdnnic_topology": "28x28-10N", "mcdnnic_parameters": {"->": {"kx": 1}}},
            "mcdnnic_parameters.->.kx is a setting of none of the layers",
        ),
        ({"mcdnnic_topology": "28x28-10N", "layers": FLAT}, "layers and mcdnnic_topology both describe the network"),
    ],
)
def test_wrong_short_forms_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        merged(**values)


def test_a_module_keeps_its_arguments_and_needs_no_type() -> None:
    layers = normalized_layers({"a": {"_target_": "torch.nn.Linear", "in_features": 3, "learning_rate": 0.5}})
    assert (layers["a"]["type"], layers["a"]["in_features"], layers["a"]["learning_rate"]) == ("module", 3, 0.5)
    assert normalized_layers(layers) == layers
    forward, backward = layer_sides(layers["a"])
    assert forward == {"module": {"_target_": "torch.nn.Linear", "in_features": 3}}
    assert backward["learning_rate"] == 0.5

"""VELES's dictionaries in this project's keys."""

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from runner.config import Config, normalized_layers
from runner.config.layers import spellings
from runner.config.layers.schema import LAYER_CONFIGS
from runner.config.veles import keys, translated
from runner.errors import ConfigError
from tests.networks import network

PAGE = Path(__file__).parents[2] / "docs" / "veles.md"


def content(**conf: Any) -> dict[str, Any]:
    return translated(conf)[0]


def lines(**conf: Any) -> list[str]:
    return translated(conf)[1]


def test_a_conf_file_without_veles_keys_stays_as_it_is() -> None:
    conf = {
        "defaults": ["_self_"],
        "loader": {"name": "mnist", "normalization": "range", "data_dir": "${oc.env:DATA}"},
        "layers": {
            "fc": {"type": "softmax", "output_sample_shape": 10, "learning_rate": 0.1},
            "my": {"_target_": "my.Module", "cache": 1, "rand": 2},
        },
        "lr_adjuster": {"policy": "inv", "gamma": 1, "power": 2},
        "snapshotter": {"odbc": "DSN=x"},
        "something": {"else": 1, "cache": 1},
        "optimizer": {"_target_": "my.Optimizer", "cache": 1},
    }
    assert translated(conf) == (conf, [])


def test_the_dictionary_that_is_translated_is_left_alone() -> None:
    conf: dict[str, Any] = {
        "loader_name": "mnist_loader",
        "layers": [
            {"type": "softmax", "->": {"rand": 1}, "<-": {"solvers": []}},
            {"type": "max_pooling", "<-": {"learning_rate": 1}},
        ],
        "mcdnnic_parameters": {"->": {"rand": 1}},
        "loader": {"force_numpy": True, "mirror": False},
    }
    before = OmegaConf.to_container(OmegaConf.create(conf))
    translated(conf)
    assert conf == before


@pytest.mark.parametrize(
    ("conf", "expected"),
    [
        ({"decision_name": "decision_mse"}, {"loss_function": "mse"}),
        ({"evaluator_name": "evaluator_softmax", "loss_function": "softmax"}, {"loss_function": "softmax"}),
        ({"name_workflow": "x"}, {"workflow": {"name": "x"}}),
        ({"data_paths": {"train": "a", "validation": "b"}}, {"loader": {"data_dir": "a"}}),
        ({"loader": {"data_path": "a"}}, {"loader": {"data_dir": "a"}}),
        ({"loader": {"train_paths": ["a"], "validation_paths": ["b"]}}, {"loader": {"data_dir": "a", "validation_dir": "b"}}),
        ({"loader": {"color_space": "GRAY", "scale": [20, 10]}}, {"loader": {"grayscale": True, "image_size": [10, 20]}}),
        ({"loader": {"scale": 1.0}}, {"loader": {"image_size": None}}),
        ({"loader": {"shuffle_limit": 4294967295}}, {"loader": {"shuffle_limit": None}}),
        ({"loader": {"shuffle_limit": 1}}, {"loader": {"shuffle_limit": 1}}),
        ({"loader": {"shuffle_limit": -1}}, {"loader": {"shuffle_limit": 0}}),
        ({"loader": {"normalization_type": "linear"}}, {"loader": {"normalization": "samplewise"}}),
        ({"snapshotter": {"compress": "", "compress_level": 3}}, {"snapshotter": {"compression": "", "compression_level": 3}}),
        ({"common": {"precision_type": "double"}}, {"precision": "float64"}),
        ({"common": {"engine": {"backend": "numpy", "precision_type": "float"}}}, {"device": "cpu", "precision": "float32"}),
        ({"common": {"dirs": {"snapshots": "a"}}}, {"snapshotter": {"directory": "a"}}),
        (
            {"rollback": {"minus_steps": 3, "lr_minus": 0.5, "lr_plus": 1}},
            {"rollback": {"fail_iterations": 3, "lr_minus": 0.5}},
        ),
        ({"evaluator": {"mean": True, "root": True, "compute_confusion_matrix": False}}, {}),
    ],
)
def test_keys_with_another_name_or_other_values(conf: dict[str, Any], expected: dict[str, Any]) -> None:
    assert content(**conf) == expected


def test_a_dictionary_of_veles_has_its_defaults() -> None:
    layers = [
        {"type": "all2all", "->": {"output_sample_shape": 3}},
        {"type": "dropout"},
        {"type": "batch_norm"},
        {"type": "softmax"},
    ]
    made = content(loader_name="wine_loader", layers=layers)
    assert made["loader"] == {"name": "wine", "normalization": "none"}
    assert made["layers"] == {
        "all2all1": {"type": "all2all", "output_sample_shape": 3, "default_stddev": "veles", "weights_decay": 0.00005},
        "dropout2": {"type": "dropout"},
        "batch_norm3": {"type": "batch_norm", "weights_decay": 0.00005},
        "softmax4": {"type": "softmax", "default_stddev": "veles", "weights_decay": 0.00005},
    }
    given = [{"type": "softmax", "weights_decay": 0, "->": {"default_stddev": "inputs"}}]
    softmax = {"type": "softmax", "weights_decay": 0, "default_stddev": "inputs"}
    assert content(loader_name="wine_loader", layers=given)["layers"]["softmax1"] == softmax
    assert (
        content(loader_name="wine_loader", loader={"normalization_type": "pointwise"})["loader"]["normalization"] == "pointwise"
    )
    assert content(loader_name="wine_loader", loader={"normalization": "range"})["loader"]["normalization"] == "range"


@pytest.mark.parametrize(
    ("decision", "expected"),
    [(None, 101), ({}, 101), ({"max_epochs": 3}, 101), ({"fail_iterations": 20}, 21), ({"fail_iterations": None}, None)],
)
def test_patience_is_counted_as_veles_counts_it(decision: dict[str, Any] | None, expected: int | None) -> None:
    """VELES stops when more epochs than this have passed without an improvement."""
    given = {} if decision is None else {"decision": decision}
    made, notes = translated({"loader_name": "wine_loader", **given})
    assert made["decision"]["fail_iterations"] == expected
    assert [f"{expected} here" in line for line in notes] == [True] * (decision == {"fail_iterations": 20})
    assert content(loader={}, **given) == {"loader": {}, **given}


def test_a_roll_back_has_the_defaults_of_veles_or_names_them() -> None:
    made, notes = translated({"loader_name": "wine_loader", "rollback": {}})
    assert made["rollback"] == {"fail_iterations": 3}
    assert [line for line in notes if "rollback.lr_plus, 1.04" in line] == notes
    made, notes = translated({"loader_name": "wine_loader", "rollback": {"lr_plus": 1, "minus_steps": 5}})
    assert (made["rollback"], notes) == ({"fail_iterations": 5}, [])
    assert "rollback" not in content(loader_name="wine_loader")


@pytest.mark.parametrize("side", ["->", "<-", None])
def test_what_veles_computes_otherwise_in_a_type_of_layer_is_refused_there(side: str | None) -> None:
    def layer(kind: str, **settings: Any) -> dict[str, Any]:
        return {"loader_name": "wine_loader", "layers": [{"type": kind, **({side: settings} if side else settings)}]}

    with pytest.raises(ConfigError, match=r"deconv1.*unsafe_padding=true.*number of kernels"):
        translated(layer("deconv", unsafe_padding=True))
    for kind, value in (("deconv", False), ("conv", True), ("max_pooling", True)):
        assert any("unsafe_padding" in line for line in translated(layer(kind, unsafe_padding=value))[1])
    with pytest.raises(ConfigError, match=r"activation_mul1\.factor.*0\.75"):
        translated(layer("activation_mul"))
    assert translated(layer("activation_mul", factor=2.0))[0]["layers"]["activation_mul1"]["factor"] == 2.0


def test_beside_an_optimizer_no_decay_is_put_into_layers() -> None:
    made = content(loader_name="wine_loader", optimizer={"_target_": "x"}, layers=[{"type": "softmax"}])
    assert made["layers"] == {"softmax1": {"type": "softmax", "default_stddev": "veles"}}


def test_a_topology_says_the_minibatch_and_the_size_of_the_images() -> None:
    made = content(
        loader_name="auto_label_file_image",
        mcdnnic_topology="12x256x128-32C4-4N",
        mcdnnic_parameters={"<-": {"learning_rate": 0.01, "need_err_input": True}},
        loader={"minibatch_size": 5},
    )
    assert made["loader"] == {"name": "images", "minibatch_size": 12, "image_size": [256, 128], "normalization": "none"}
    assert made["mcdnnic_parameters"] == {
        "->": {"default_stddev": "veles"},
        "<-": {"learning_rate": 0.01, "weights_decay": 0.00005},
    }
    assert "minibatch_size" not in content(loader_name="mnist_loader", mcdnnic_topology="28x28-10N")["loader"]


POLICY = {"lr_policy_name": "inv", "lr_parameters": {"gamma": 2, "pow_ratio": 3}}


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({"do": False} | POLICY, {}),
        ({"do": True}, {}),
        (POLICY, {"policy": "inv", "gamma": 2, "power": 3}),
        (
            POLICY | {"bias_lr_policy_name": "inv", "bias_lr_parameters": POLICY["lr_parameters"]},
            {"policy": "inv", "gamma": 2, "power": 3},
        ),
        ({"lr_policy_name": "exp", "lr_parameters": {"gamma": 0.5, "a_ratio": 2}}, {"policy": "exp", "gamma": 0.25}),
        (
            {"lr_policy_name": "step_exp", "lr_parameters": {"gamma": 0.5, "step": 2}},
            {"policy": "step_exp", "gamma": 0.5, "step": 2},
        ),
        ({"lr_policy_name": "fixed"}, {"policy": "fixed"}),
        (
            {"lr_policy_name": "arbitrary_step", "lr_parameters": {"lrs_with_lengths": [[1, 5]]}},
            {"policy": "arbitrary_step", "lrs_with_lengths": [[1, 5]]},
        ),
    ],
)
def test_learning_rate_policies(section: dict[str, Any], expected: dict[str, Any]) -> None:
    assert content(lr_adjuster=section) == {"lr_adjuster": expected and expected | {"by_minibatch": True}}


def test_base_lr_is_the_rate_of_every_layer() -> None:
    adjuster = {
        "lr_policy_name": "fixed",
        "lr_parameters": {"base_lr": 0.1},
        "bias_lr_policy_name": "fixed",
        "bias_lr_parameters": {"base_lr": 0.2},
    }
    layers = [{"type": "conv", "learning_rate": 5}, {"type": "dropout"}, {"type": "softmax", "<-": {"learning_rate_bias": 7}}]
    made = content(lr_adjuster=adjuster, layers=layers)["layers"]
    rates = {"learning_rate": 0.1, "learning_rate_bias": 0.2}
    assert made == {
        "conv1": {"type": "conv"} | rates,
        "dropout2": {"type": "dropout"},
        "softmax3": {"type": "softmax"} | rates,
    }
    topology = content(lr_adjuster=adjuster, mcdnnic_topology="28x28-10N")
    assert topology["mcdnnic_parameters"] == {"<-": rates}


@pytest.mark.parametrize("key", [*keys.DROPPED, *(f"{unit}.{key}" for unit in keys.UNITS for key in keys.UNIT_KEYS)])
def test_a_key_without_effect_is_named_with_the_reason(key: str) -> None:
    node = OmegaConf.create({})
    OmegaConf.update(node, key, 1)
    made, notes = translated(OmegaConf.to_container(node))  # type: ignore[arg-type]
    why = (keys.DROPPED | keys.UNIT_KEYS)[key if key in keys.DROPPED else key.partition(".")[2]]
    assert notes == [f"{key} of VELES has no effect: {why}"]
    assert not made.get(key.partition(".")[0])


@pytest.mark.parametrize("side", [None, "->", "<-"])
@pytest.mark.parametrize("key", [*keys.LAYER_DROPPED, *keys.UNIT_KEYS])
def test_a_key_of_a_layer_without_effect_is_named_with_the_reason(key: str, side: str | None) -> None:
    layer = {"name": "fc", "type": "all2all"} | ({key: 1} if side is None else {side: {key: 1}})
    made, notes = translated({"layers": [layer]})
    where = "layers.fc" if side is None else f"layers.fc.{side}"
    assert notes == [f"{where}.{key} of VELES has no effect: {(keys.LAYER_DROPPED | keys.UNIT_KEYS)[key]}"]
    assert made["layers"]["fc"] == {"type": "all2all"}


def test_learning_rates_of_a_layer_without_weights_are_named() -> None:
    layers = [{"name": "p", "type": "max_pooling", "<-": {"learning_rate": 1}}]
    assert lines(loader_name="mnist_loader", layers=layers) == [
        "layers.p.<-.learning_rate of VELES has no effect: a layer of type 'max_pooling' has no weights"
    ]
    assert translated({"layers": layers}) == ({"layers": {"p": {"type": "max_pooling", "learning_rate": 1}}}, [])


@pytest.mark.parametrize("key", keys.REFUSED)
def test_a_key_that_would_change_the_results_is_refused(key: str) -> None:
    neutral, instead = keys.REFUSED[key]
    for value in (None, *neutral):
        node = OmegaConf.create({})
        OmegaConf.update(node, key, value)
        assert lines(**OmegaConf.to_container(node)) == []  # type: ignore[arg-type]
    OmegaConf.update(node, key, "bogus")
    with pytest.raises(ConfigError) as caught:
        translated(OmegaConf.to_container(node))  # type: ignore[arg-type]
    assert str(caught.value) == f"{key}='bogus' of VELES is not supported: {instead}"


@pytest.mark.parametrize("key", keys.LAYER_REFUSED)
def test_a_key_of_a_layer_that_would_change_the_results_is_refused(key: str) -> None:
    neutral, instead = keys.LAYER_REFUSED[key]
    for value in (None, *neutral):
        assert content(layers=[{"name": "fc", "type": "all2all", "<-": {key: value}}])["layers"]["fc"] == {"type": "all2all"}
    with pytest.raises(ConfigError) as caught:
        content(layers=[{"name": "fc", "type": "all2all", "<-": {key: 7}}])
    assert str(caught.value) == f"layers.fc.<-.{key}=7 of VELES is not supported: {instead}"


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        (
            {"loader_name": "lmdb"},
            "loader_name='lmdb' of VELES has no counterpart; known: auto_label_file_image, .*, wine_loader",
        ),
        (
            {"loader": {"normalization_type": "exp"}},
            "loader.normalization_type='exp' of VELES has no counterpart; known: inter",
        ),
        (
            {"common": {"engine": {"backend": "ocl"}}},
            "common.engine.backend='ocl' of VELES has no counterpart; known: auto, cuda",
        ),
        ({"loader": {"train_paths": ["a", "b"]}}, r"loader.train_paths=\['a', 'b'\] must be a list of one folder"),
        ({"loader": {"scale": 0.5}}, r"loader.scale=0.5 must be \[width, height\] in pixels"),
        ({"loader_name": "mnist_loader", "loader": {"name": "wine"}}, "loader_name of VELES and loader.name='wine' contradict"),
        ({"loader_name": "mnist_loader", "loader": 5}, "loader=5 must be a mapping"),
        (
            {"common": {"engine": {"bogus": 1}}},
            "common.engine.bogus is not a key of VELES that is known here; known: common.cache_dir",
        ),
        (
            {"data_paths": {"test": 1}},
            "data_paths.test is not a key of VELES that is known here; known: data_paths.train, data_",
        ),
        *(
            (
                {name: {"a": {"type": "all2all", arrow: 5}} if name == "layers" else {arrow: 5}} | marks,
                rf"{arrow}=5 must be a m",
            )
            for arrow in ("->", "<-")
            for name in ("layers", "mcdnnic_parameters")
            for marks in ({"mcdnnic_topology": "8x8-3N"}, {"mcdnnic_topology": "8x8-3N", "loader_name": "mnist_loader"})
        ),
        ({"layers": [8, 3]}, "layers has 8, which is not a mapping with a type"),
        (
            {"layers": [{"type": "all2all", "output_shape": 1, "output_sample_shape": 2}]},
            "all2all1.output_shape and output_sample",
        ),
        (
            {"lr_adjuster": {"lr_policy_name": "x"}},
            "lr_adjuster.lr_policy_name='x' is not a policy of VELES; known: arbitrary_step",
        ),
        (
            {"lr_adjuster": {"lr_policy_name": "inv"}},
            r"lr_adjuster.lr_parameters=\{\} are not those of the policy 'inv': base_lr, g",
        ),
        (
            {"lr_adjuster": POLICY | {"bias_lr_policy_name": "fixed"}},
            "lr_adjuster.bias_lr_policy_name and bias_lr_parameters of VELES must be those of the weights, but for base_lr",
        ),
    ],
)
def test_what_cannot_be_translated_is_refused(conf: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        translated(conf)


def test_targets_of_renamed_keys_are_keys() -> None:
    node = OmegaConf.structured(Config)
    for target, _ in keys.MOVED.values():
        OmegaConf.select(node, target, throw_on_missing=True)
        assert target.rpartition(".")[2] in (OmegaConf.select(node, target.rpartition(".")[0]) if "." in target else node)


def test_the_number_of_outputs_of_softmax_is_that_of_the_labels() -> None:
    workflow = network(layers={"out": {"type": "softmax"}})
    workflow.initialize()
    assert workflow["out"].weights.shape == (3, 6)


def test_the_page_has_every_type_of_layer() -> None:
    page = PAGE.read_text()
    assert [kind for kind in LAYER_CONFIGS if kind not in ("batch_norm", "module") and f"`{kind}`" not in page] == []
    assert [kind for kind in spellings.TYPES if f"`{kind}`" not in page] == []


RELUS = {"all2all": {"output_sample_shape": 3}, "conv": {"n_kernels": 3}, "activation": {}}


@pytest.mark.parametrize("base", RELUS)
def test_types_of_a_dictionary_of_veles_mean_what_they_mean_there(base: str) -> None:
    layers = [{"name": name, "type": f"{base}_{name}", "->": RELUS[base]} for name in ("relu", "str", "tanh")]
    made, notes = translated({"loader_name": "mnist_loader", "layers": layers})
    assert [layer["type"] for layer in made["layers"].values()] == [f"{base}_softplus", f"{base}_relu", f"{base}_tanh"]
    assert [note for note in notes if "relu" in note] == [
        f"layers.relu.type={base}_relu of VELES is {base}_softplus here: log(1 + e^x)"
    ]


def test_veles_words_of_keys_are_read_without_a_notice_in_its_dictionaries() -> None:
    layers = [{"type": "norm"}, {"type": "softmax", "<-": {"gradient_moment": 0.9, "gradient_moment_bias": 0.5}}]
    made, notes = translated({"loader_name": "mnist_loader", "layers": layers})
    assert notes == []
    assert made["layers"]["norm1"] == {"type": "local_response_norm"}
    assert made["layers"]["softmax2"]["gradient_momentum"] == 0.9
    assert made["layers"]["softmax2"]["gradient_momentum_bias"] == 0.5


@pytest.mark.parametrize("kind", ["max_pooling", "norm", "activation_str"])
def test_veles_momentum_of_a_layer_without_weights_has_no_effect(kind: str) -> None:
    made, notes = translated({"loader_name": "mnist_loader", "layers": [{"type": kind, "<-": {"gradient_moment": 0.9}}]})
    assert [note for note in notes if "gradient_moment" in note]
    assert normalized_layers(made["layers"])


@pytest.mark.parametrize("base", RELUS)
@pytest.mark.parametrize(
    ("conf", "sign"),
    [
        ({"loader": {"normalization_type": "linear"}}, "loader.normalization_type"),
        ({"common": {"engine": {"backend": "numpy"}}}, "common.engine.backend"),
        ({"downloader": {"url": "x"}}, "downloader"),
        ({"decision_name": "decision_gd"}, "decision_name"),
        ({"decision": {"timings": False}}, "decision.timings"),
        ({}, "->"),
        ({}, "<-"),
        ({}, "rand"),
        ({}, "solvers"),
        ({}, "gradient_moment"),
        ({}, "type=norm"),
        ({}, "a list of layers"),
    ],
)
def test_relu_is_refused_where_veles_may_be_meant(base: str, conf: dict[str, Any], sign: str) -> None:
    layer = {"type": f"{base}_relu"} | RELUS[base]
    others: dict[str, Any] = {"x": {"type": "conv", "n_kernels": 2}}
    if sign == "type=norm":
        others = {"x": {"type": "norm"}}
    elif not conf and sign != "a list of layers":
        others["x"][sign] = {}
    layers: Any = others | {"a": layer}
    if sign == "a list of layers":
        layers = [{"name": name} | settings for name, settings in layers.items()]
    with pytest.raises(ConfigError) as caught:
        translated(conf | {"layers": layers})
    assert all(word in str(caught.value) for word in ("layers.a.type", f"{base}_relu", f"{base}_softplus", sign))
    for kind in (f"{base}_softplus", f"{base}_str", f"{base}_sigmoid"):
        layer["type"] = kind
        if sign != "solvers":
            translated(conf | {"layers": others | {"a": layer}})


@pytest.mark.parametrize(
    "conf", [{}, {"loader": {"shuffle_limit": 1, "name": "mnist"}}, {"snapshotter": {"compression": ""}}, {"plotters": True}]
)
def test_relu_is_relu_in_a_conf_file_of_this_project(conf: dict[str, Any]) -> None:
    layers = {"a": {"type": "all2all_relu", "output_sample_shape": 3}}
    assert translated(conf | {"layers": layers}) == (conf | {"layers": layers}, [])


def test_a_type_typed_over_a_dictionary_of_veles_is_this_projects() -> None:
    layers = [{"name": "a", "type": "all2all_tanh", "->": {"output_sample_shape": 3}, "<-": {"gradient_moment": 0.9}}]
    made = content(loader_name="mnist_loader", layers=layers)["layers"]
    made["a"] |= {"type": "all2all_relu", "gradient_momentum": 0.5}
    (normalized,) = normalized_layers(made).values()
    assert (normalized["type"], normalized["gradient_momentum"], normalized["output_sample_shape"]) == ("all2all_relu", 0.5, 3)


def test_other_spellings_in_a_conf_file_are_told() -> None:
    layers = {
        "a": {"type": "conv_str", "n_kernels": 2, "gradient_moment": 0.9},
        "b": {"type": "norm"},
        "c": {"_target_": "my.Module", "gradient_moment": 0.9, "momentum": 0.1},
        "d": {"type": "softmax", "momentum": 0.9},
    }
    made, notes = translated({"layers": layers})
    assert made["layers"] == {
        "a": {"type": "conv_relu", "n_kernels": 2, "gradient_momentum": 0.9},
        "b": {"type": "local_response_norm"},
        "c": {"_target_": "my.Module", "gradient_momentum": 0.9, "momentum": 0.1},
        "d": {"type": "softmax", "gradient_momentum": 0.9},
    }
    assert notes == [
        "layers.a.type=conv_str is read as conv_relu",
        "layers.a.gradient_moment is read as gradient_momentum",
        "layers.b.type=norm is read as local_response_norm",
        "layers.c.gradient_moment is read as gradient_momentum",
        "layers.d.momentum is read as gradient_momentum",
    ]

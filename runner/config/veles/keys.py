"""VELES's keys: their names here, those without effect, and those that are refused. docs/veles.md lists them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from runner.checks import choices
from runner.errors import ConfigError

Convert = Callable[[str, Any], Any]


def same(key: str, value: Any) -> Any:
    """Returns the value as it is."""
    return value


def named(names: Mapping[Any, Any]) -> Convert:
    """Returns a conversion of names into their counterparts, which refuses names without one."""

    def convert(key: str, value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise ConfigError(f"{key}={value!r} of VELES has no counterpart; {choices(value, names)}")
        return names[value]

    return convert


def single(key: str, value: Any) -> Any:
    """Returns the only item of a list."""
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    raise ConfigError(f"{key}={value!r} must be a list of one folder: put the images into one, with a folder for each class")


def size(key: str, value: Any) -> list[int] | None:
    """Returns [height, width] of VELES's [width, height]; None for the factor 1."""
    if value == 1:
        return None
    if isinstance(value, list) and len(value) == 2:
        return value[::-1]
    raise ConfigError(f"{key}={value!r} must be [width, height] in pixels")


def negated(key: str, value: Any) -> Any:
    """Returns the opposite of a truth value."""
    return not value if isinstance(value, bool) else value


def limit(key: str, value: Any) -> Any:
    """Returns the number of epochs before which to shuffle; None: all."""
    return None if isinstance(value, int) and value >= 2_000_000_000 else max(value, 0) if isinstance(value, int) else value


def refuse(key: str, value: Any, neutral: tuple[Any, ...], instead: str) -> None:
    """Raises a ConfigError for a value that would change the results."""
    if value is not None and not any(type(value) is type(other) and value == other for other in neutral):
        raise ConfigError(f"{key}={value!r} of VELES is not supported: {instead}")


LOADERS = {
    "mnist_loader": "mnist",
    "cifar_loader": "cifar10",
    "wine_loader": "wine",
    "auto_label_file_image": "images",
    "full_batch_auto_label_file_image": "images",
}
NORMALIZATIONS = {
    "none": "none",
    "linear": "samplewise",
    "mean_disp": "mean_dispersion",
    "pointwise": "pointwise",
    "internal_mean": "internal_mean",
}
PRECISIONS = {"float": "float32", "double": "float64"}

MOVED: dict[str, tuple[str, Convert]] = {
    "loader_name": ("loader.name", named(LOADERS)),
    "add_plotters": ("plotters", same),
    "common.disable_plotting": ("plotters", negated),
    "common.plotters_disabled": ("plotters", negated),
    "name_workflow": ("workflow.name", same),
    "decision_name": ("loss_function", named({"decision_gd": "softmax", "decision_mse": "mse"})),
    "evaluator_name": ("loss_function", named({"evaluator_softmax": "softmax", "evaluator_mse": "mse"})),
    "data_paths.train": ("loader.data_dir", same),
    "loader.data_path": ("loader.data_dir", same),
    "loader.train_paths": ("loader.data_dir", single),
    "loader.validation_paths": ("loader.validation_dir", single),
    "loader.color_space": ("loader.grayscale", named({"GRAY": True, "RGB": False})),
    "loader.scale": ("loader.image_size", size),
    "loader.shuffle_limit": ("loader.shuffle_limit", limit),
    "loader.normalization_type": ("loader.normalization", named(NORMALIZATIONS)),
    "snapshotter.compress": ("snapshotter.compression", same),
    "snapshotter.compress_level": ("snapshotter.compression_level", same),
    "rollback.minus_steps": ("rollback.fail_iterations", same),
    "common.precision_type": ("precision", named(PRECISIONS)),
    "common.engine.precision_type": ("precision", named(PRECISIONS)),
    "common.engine.backend": ("device", named({"auto": "auto", "cuda": "cuda", "numpy": "cpu"})),
    "common.dirs.snapshots": ("snapshotter.directory", same),
    "common.snapshot_dir": ("snapshotter.directory", same),
}
"""For each of VELES's keys with another name or other values here: the key, and the conversion of its value."""

_PLOTS = "plotters=true draws errors, confusion and first weights"
_DEVICE = "`device` says where the run computes"
_DATA = "data are never downloaded: loader.data_dir says where they are"
_SERVICE = "there is no such service"

DROPPED: dict[str, str] = {
    "weights_plotter": _PLOTS,
    "similar_weights_plotter": _PLOTS,
    "accumulator": _PLOTS,
    "image_saver": "misclassified images are not saved; evaluator.confusion counts them",
    "data_saver": "minibatches are not saved",
    "publisher": "no report is made: the log, .hydra/ and the snapshots in the run's folder tell what was run",
    "result_loader": "snapshot=FILE mode=evaluate scores a snapshot",
    "result_loader_name": "snapshot=FILE mode=evaluate scores a snapshot",
    "result_unit_factory": "snapshot=FILE mode=evaluate scores a snapshot",
    "downloader": _DATA,
    "all2all": "StandardWorkflow never read it: layers.NAME.weights_stddev is the key",
    "data_paths.validation": "validation data are in the folder of the training data",
    "evaluator.compute_confusion_matrix": "it is always counted, up to 1,000 classes",
    "loader.dataset_file": "wine comes with scikit-learn; other tables are loader.name=table with loader.data_file",
    "loader.file_subtypes": "all images of the folders are loaded",
    "loader.filename_types": "all images of the folders are loaded",
    "loader.background_color": "images are resized, not placed on a background",
    "loader.on_device": _DEVICE,
    "loader.prng": "`seed` determines everything random",
    "rollback.plus_steps": "learning rates are not raised after an improvement",
    "common.precision_level": "sums are torch's",
    "common.engine.precision_level": "sums are torch's",
    "common.disable": "report=false and plotters=false are for reports and pictures, and snapshots are always taken",
    "common.dirs": "the only folders are loader.data_dir and snapshotter.directory",
    "common.datasets_root": _DATA,
    "common.test_dataset_root": _DATA,
    "common.cache_dir": "nothing is cached",
    "common.matplotlib_backend": "no windows are opened",
    "common.mongodb_logging_address": _SERVICE,
    "common.web": _SERVICE,
    "common.graphics": _SERVICE,
}
"""Keys without effect here, and why. A section stands for all its keys."""

PATIENCE = 100
"""VELES's `decision.fail_iterations` where it is not given."""
MINUS_STEPS = 3
"""VELES's `rollback.minus_steps` where it is not given."""

UNIT_KEYS: dict[str, str] = {
    "force_numpy": _DEVICE,
    "force_cpu": _DEVICE,
    "logger": "a unit's name is its logger's",
    "view_group": "the class of a unit says its group",
    "timings": "units are not timed one by one",
    "cache": "no kernels are compiled",
    "generate_data_for_slave_threadsafe": "a run is one process",
    "apply_data_from_slave_threadsafe": "a run is one process",
}
"""Keys that every unit of VELES takes, and that have no effect here."""

UNITS = ("loader", "evaluator", "decision", "snapshotter", "lr_adjuster", "rollback")
"""The sections of units."""

LAYER_DROPPED: dict[str, str] = {
    "rand": "each layer has its own random stream, derived from `seed`",
    "weights_transposed": "it affects memory, not results",
    "unpack_size": "it affects memory, not results",
    "output_dtype": "`precision` applies to everything",
    "output_samples_number": "it is the size of the minibatch",
    "unsafe_padding": "what is left over at the margin is not an error",
    "need_err_input": "the error is computed where it is needed",
    "last_minibatch": "each minibatch updates the weights",
    "fast_learning_rate": "it belongs to `solvers`",
    "adadelta_momentum": "it belongs to `solvers`",
    "adadelta_adom": "it belongs to `solvers`",
    "adadelta_epsilon": "it belongs to `solvers`",
    "adagrad_epsilon": "it belongs to `solvers`",
}
"""Keys of either side of a layer without effect here, and why."""

LAYER_MOVED = {"output_shape": "output_sample_shape"}
"""Keys of a layer that have another name here."""

_AUGMENTED = "transform the images in a torch.utils.data.Dataset, by loader.name=dataset"

REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "preprocessing": ((False,), "preprocess in a torch.utils.data.Dataset, by loader.name=dataset"),
    "loader.normalization_parameters": (({},), "the normalizations have no parameters"),
    "loader.target_normalization_type": (("none",), "targets are not normalized"),
    "loader.target_normalization_parameters": (({},), "targets are not normalized"),
    "loader.train_ratio": ((1, 1.0), "loader.train_size cuts the training set"),
    "loader.add_sobel": ((False,), _AUGMENTED),
    "loader.mirror": ((False,), _AUGMENTED),
    "loader.rotations": (([0], [0.0], []), _AUGMENTED),
    "loader.crop": ((), _AUGMENTED),
    "loader.crop_number": ((1,), _AUGMENTED),
    "loader.smart_crop": ((True, False), _AUGMENTED),
    "loader.scale_maintain_aspect_ratio": ((False,), "images are resized to loader.image_size"),
    "loader.background_image": ((), _AUGMENTED),
    "loader.path_to_mean": ((), "loader.normalization=internal_mean takes the mean of the training set"),
    "loader.ignored_files": (([],), "move the files out of the folder"),
    "loader.included_files": (([".*"],), "move the other files out of the folder"),
    "loader.label_regexp": ((), "the folder of an image is its label"),
    "loader.target_paths": ((), "a torch.utils.data.Dataset has images as targets, by loader.name=dataset"),
    "loader.test_paths": (([],), "score another set with mode=evaluate"),
    "softmax.error_function_avr": ((True,), "gradients are means over the minibatch"),
    "evaluator.mean": ((True,), "gradients are means over the minibatch"),
    "evaluator.root": ((True,), "the metric of mse is the RMSE"),
    "decision.use_dynamic_alpha": ((False,), "lr_adjuster and rollback change the learning rates"),
    "rollback.lr_plus": ((1, 1.0), "learning rates are not raised after an improvement"),
}
"""Keys that would change the results and have no counterpart: values that would change nothing, and what to do instead."""

LAYER_REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "solvers": (([], ["momentum"]), "`optimizer` takes any of torch.optim, such as Adagrad and Adadelta"),
    "accumulate_gradient": ((0, False), "each minibatch updates the weights: take a larger loader.minibatch_size"),
    "variant_gradient": ((0, True), "momentum is added as in VELES's variant 0"),
    "variant_moment_gradient": ((0, True), "momentum is added as in VELES's variant 0"),
}
"""The same for keys of a layer."""

LR_PARAMETERS: dict[str, dict[str, str]] = {
    "fixed": {},
    "exp": {"gamma": "gamma", "a_ratio": "a_ratio"},
    "step_exp": {"gamma": "gamma", "step": "step"},
    "inv": {"gamma": "gamma", "pow_ratio": "power"},
    "arbitrary_step": {"lrs_with_lengths": "lrs_with_lengths"},
}
"""For each of VELES's learning-rate policies its parameters, besides `base_lr`, and their names here."""

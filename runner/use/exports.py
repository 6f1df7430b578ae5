"""A trained network in the formats of others, each tried on samples before it has its name."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from runner.datasets.files import needs
from runner.errors import ConfigError, RunError
from runner.nn.core.parts import Given, taken_apart
from runner.nn.inference.model import Network, Signature
from runner.nn.loading.samples import Array
from runner.use.writers import check_output, written

CLOSE = 1e-5
"""How far the outputs of ONNX may be from torch's."""
KEY = "veles"
"""Where formats with metadata have the signature, as JSON."""
SAMPLES = "samples"


def about(signature: Signature, **more: Any) -> str:
    """Returns what a network takes and gives as JSON: names, shapes and types, and who made it."""
    values = {
        key: str(value).removeprefix("torch.") if key.endswith("dtype") else value for key, value in asdict(signature).items()
    }
    return json.dumps({**values, **more, "made_by": f"veles-run {version('veles-runner')}"})


def output_name(signature: Signature) -> str:
    """Returns what the output is called."""
    return "probabilities" if signature.class_names else "values"


def _state(model: Network) -> dict[str, Tensor]:
    """Returns the state with a tensor of its own for each name: tied weights are in it twice."""
    return {name: value.detach().contiguous().clone() for name, value in model.state_dict().items()}


def _safetensors(model: Network, example: Given, told: str) -> tuple[bytes, Callable[[Given], Array]]:
    with needs("safetensors", "a .safetensors file"):
        from safetensors.torch import load, save
    content = save(_state(model), {"format": "pt", KEY: told})
    return content, _with_state(model, load(content))


def _state_dict(model: Network, example: Given, told: str) -> tuple[bytes, Callable[[Given], Array]]:
    file = io.BytesIO()
    torch.save({"state_dict": _state(model), KEY: told}, file)
    file.seek(0)
    return file.getvalue(), _with_state(model, torch.load(file, weights_only=True)["state_dict"])


def _with_state(model: Network, state: dict[str, Tensor]) -> Callable[[Given], Array]:
    """Returns the network with a state that was read again."""
    model.load_state_dict(state)
    return lambda samples: _run(model, samples)


def _named(given: Given) -> dict[str, Tensor]:
    """Returns samples by the names that inputs have in formats without tuples and dicts."""
    if isinstance(given, Tensor):
        return {SAMPLES: given}
    return given if isinstance(given, dict) else {f"{SAMPLES}_{number}": value for number, value in enumerate(given)}


def _program(model: Network, example: Given) -> Any:
    first: Any = {0: torch.export.Dim(SAMPLES)}
    shapes = dict.fromkeys(example, first) if isinstance(example, dict) else (first,) * len(example)
    return torch.export.export(model, (example,), dynamic_shapes=(first if isinstance(example, Tensor) else shapes,))


def _torch_export(model: Network, example: Given, told: str) -> tuple[bytes, Callable[[Given], Array]]:
    file = io.BytesIO()
    torch.export.save(_program(model, example), file, extra_files={f"{KEY}.json": told})
    file.seek(0)
    loaded = torch.export.load(file).module()
    return file.getvalue(), lambda samples: _run(loaded, samples)


def _onnx(model: Network, example: Given, told: str) -> tuple[bytes, Callable[[Given], Array]]:
    with needs("onnx", "an .onnx file"):
        import onnxruntime
        import onnxscript  # noqa: F401 torch's exporter needs it
    named = [output_name(model.signature)]
    program = torch.onnx.export(
        _program(model, example), (example,), dynamo=True, input_names=[*_named(example)], output_names=named, verbose=False
    )
    assert program is not None
    program.model.metadata_props[KEY] = told
    content: bytes = program.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda given: session.run(None, {name: value.numpy() for name, value in _named(given).items()})[0]


FORMATS: dict[str, Callable[[Network, Given, str], tuple[bytes, Callable[[Given], Array]]]] = {
    ".safetensors": _safetensors,
    ".pt": _state_dict,
    ".pt2": _torch_export,
    ".onnx": _onnx,
}
"""By the ending of a file's name what makes its content, and what computes with that again."""


def _run(model: Any, samples: Given) -> Array:
    with torch.inference_mode():
        result: Array = model(samples).numpy()
    return result


def export(model: Network, output: str, samples: Tensor, **more: Any) -> float:
    """Writes a network in the format that the name of a file ends with.

    Args:
        model: the network, on the CPU.
        output: the file.
        samples: raw samples on which what was written is compared with the network.
        more: what else its metadata have.

    Returns:
        The largest difference of an output.

    Raises:
        ConfigError: an unknown format, or a package that is missing.
        RunError: it cannot be written, or does not compute the same.
    """
    ending = check_output(output, tuple(FORMATS))
    expected = _run(model, samples)
    try:
        with _quiet():
            content, computed = FORMATS[ending](model, _given(model, samples[:2]), about(model.signature, **more))
            found = np.asarray(computed(_given(model, samples)))
    except ConfigError:
        raise
    except Exception as error:  # what exports or runs a network may fail in any way
        raise RunError(f"the network cannot be written as {ending}: {_reason(error)}") from error
    difference = float(np.abs(np.subtract(found, expected)).max()) if found.shape == expected.shape else np.inf
    if not difference <= (CLOSE if ending == ".onnx" else 0.0):
        raise RunError(f"{output!r} is not written: it would compute other outputs, which differ by {difference:g}")
    with written(output) as file:
        file.write(content)
    return difference


def _given(model: Network, samples: Tensor) -> Given:
    """Returns raw samples as the data set has them, in a tuple or a dict."""
    return taken_apart(model.signature.parts, samples, model.signature.input_dtype)


def _reason(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return f"{type(error).__name__}: {lines[0][:300]}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Within it, what exporters tell of themselves is not shown."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def write_state(state: dict[str, Tensor], output: str, told: str) -> None:
    """Writes tensors alone, as .safetensors or .pt, with a text that says what they are.

    Raises:
        ConfigError: another format.
        RunError: it cannot be written.
    """
    if check_output(output, tuple(FORMATS)) == ".safetensors":
        with needs("safetensors", "a .safetensors file"):
            from safetensors.torch import save
        content = save(state, {"format": "pt", KEY: told})
    elif Path(output).suffix.lower() == ".pt":
        buffer = io.BytesIO()
        torch.save({"state_dict": state, KEY: told}, buffer)
        content = buffer.getvalue()
    else:
        raise ConfigError(f"output {output!r} needs the network, and not its weights alone")
    with written(output) as file:
        file.write(content)

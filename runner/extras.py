"""Packages that this one can do without, and the extras that bring them: `pip install 'veles-runner[data]'`."""

from __future__ import annotations

EXTRAS = {
    "PIL": ("pillow", "data"),
    "cryptography": ("cryptography", "sign"),
    "fsspec": ("fsspec", "remote"),
    "matplotlib": ("matplotlib", "plot"),
    "onnx": ("onnx", "export"),
    "onnxruntime": ("onnxruntime", "export"),
    "onnxscript": ("onnxscript", "export"),
    "optuna": ("optuna", "optuna"),
    "pyarrow": ("pyarrow", "data"),
    "safetensors": ("safetensors", "export"),
    "sklearn": ("scikit-learn", "data"),
    "torchmetrics": ("torchmetrics", "metrics"),
}
"""For each module its package, and the extra that has it."""


def command(name: str) -> str | None:
    """Returns the command that installs what brings a module or a package, by its extra; None if none of ours does."""
    extras = {known: extra for module, (package, extra) in EXTRAS.items() for known in (module, package)}
    return f"pip install 'veles-runner[{extras[name]}]'" if name in extras else None

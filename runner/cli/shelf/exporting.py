"""The command of `veles-snapshots` that gives a network to others: export. It alone needs torch, and builds what it exports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from runner.cli.shelf import options
from runner.cli.shelf.printing import dump, say, size, warn
from runner.errors import ConfigError, RunnerError, SnapshotMismatchError, SnapshotRefusedError
from runner.snapshots.format.signing_keys import Key
from runner.snapshots.stores.location import DEFAULT_TABLE
from runner.snapshots.stores.store import Entry, Store

if TYPE_CHECKING:
    from torch import Tensor

    from runner.snapshots.restoring.restore import Restored

SAMPLES = 1000
"""Samples on which an export is tried."""


def export(
    snapshot: options.Snapshot,
    to: Annotated[str, typer.Option("--to", help="The file: .safetensors, .pt, .pt2 or .onnx.", metavar="FILE")],
    data: Annotated[
        str | None, typer.Option("--data", help="Samples to try it on, as for mode=predict. [the run's own data]")
    ] = None,
    trusted: Annotated[
        list[str] | None, typer.Option("--trusted", help="Modules of yours whose classes it may hold.", metavar="MODULE")
    ] = None,
    place: options.In = ".",
    odbc: options.Odbc = None,
    table_name: options.Table = DEFAULT_TABLE,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """Writes the trained network for other programs: weights (safetensors, torch), or the whole of it (torch.export, ONNX).

    Normalization is inside, and names, shapes and types are inside or in the metadata. The file is tried on samples before it
    has its name: ONNX within 1e-5, others to the bit. Of a snapshot whose classes are not here, or not trusted, .safetensors
    and .pt have the plain tensors.

    \b
    veles-snapshots export best --to mnist.onnx
    veles-snapshots export 3fa1bc02 --to mnist.safetensors
    """
    from runner.use.writers import check_output

    check_output(to, (".safetensors", ".pt", ".pt2", ".onnx"), "--to ")
    link = Path(snapshot).is_symlink()  # such as `..._current.5.pickle.gz`, which leads to the newest
    entry, store = options.shelf(place, odbc, table_name).find(str(Path(snapshot).resolve()) if link else snapshot)
    secret = options.secret(key)
    try:
        told = _network(entry, to, data, trusted or [], key)
    except (SnapshotRefusedError, SnapshotMismatchError) as error:
        if key is not None and isinstance(error, SnapshotRefusedError):
            raise
        told = _weights(entry, store, to, secret, error)
    if as_json:
        dump(told)
    else:
        say(f"{told['file']} ({size(told['bytes'])}): {told['what']}")


def _network(entry: Entry, to: str, data: str | None, trusted: list[str], key: str | None) -> dict[str, Any]:
    from runner.snapshots.restoring.restore import restore
    from runner.use.exports import export as write

    restored = restore(entry.location, trusted=trusted, **({"trust": "signed", "key": key} if key is not None else {}))  # type: ignore[arg-type]
    model = restored.model()
    samples, what = _samples(restored, data)
    difference = write(model, to, samples, snapshot=entry.header.uuid)
    exact = "to the bit" if difference == 0 else f"within {difference:.1e}"
    return {
        "file": to,
        "bytes": Path(to).stat().st_size,
        "what": f"computes the same as the snapshot, {exact}, on {len(samples)} {what}",
        "difference": difference,
        "samples": len(samples),
    }


def _samples(restored: Restored, data: str | None) -> tuple[Tensor, str]:
    """Returns samples to try a network on, and what they are: the run's own; if these are not here, numbers that were drawn."""
    import torch

    from runner.nn import StandardWorkflow
    from runner.use.predicting import as_tensor
    from runner.use.sources import opened

    workflow = restored.workflow
    assert isinstance(workflow, StandardWorkflow)
    signature = restored.model().signature
    if data is not None:
        with opened(data, workflow.loader) as source:
            block = next(source.blocks(), None)
        if block is None or not len(block.samples.data):
            raise ConfigError(f"--data {data!r} has no samples")
        return as_tensor(block.samples.data[:SAMPLES]).to(signature.input_dtype), f"samples of {data}"
    try:
        found = workflow.loader.load_data()
        samples = found[min(found)].data[:SAMPLES]
    except (RunnerError, OSError, KeyError, ValueError) as error:
        warn(f"The run's own data cannot be loaded ({error}): numbers are drawn in their place; --data FILE names real ones")
        drawn = torch.rand((SAMPLES, *signature.input_shape), generator=torch.Generator().manual_seed(1)) * 2
        return drawn.to(signature.input_dtype), "samples that were drawn"
    return as_tensor(samples).to(signature.input_dtype), "samples of the run's own data"


def _weights(entry: Entry, store: Store, to: str, key: Key | None, error: RunnerError) -> dict[str, Any]:
    from runner.nn.inference.bare_weights import read_tensors
    from runner.use.exports import write_state

    if not to.endswith((".safetensors", ".pt")):
        raise error
    warn(f"{error}")
    header, tensors = read_tensors(store.open(entry.location), key)
    if not tensors:
        raise error
    write_state(tensors, to, json.dumps({"workflow": header.workflow, "snapshot": header.uuid, "config": header.config}))
    names = ", ".join(list(tensors)[:5])
    what = f"{len(tensors)} tensors, by unit and attribute, without the network: {names}{', ...' if len(tensors) > 5 else ''}"
    return {"file": to, "bytes": Path(to).stat().st_size, "what": what, "tensors": list(tensors)}

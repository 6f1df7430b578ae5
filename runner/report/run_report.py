"""What the report of a run says."""

from __future__ import annotations

import base64
import logging
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from runner.checks import first_line
from runner.errors import ConfigError, RunnerError, SnapshotError
from runner.graph import Workflow, drawing
from runner.metrics import history_of
from runner.nn import StandardWorkflow, facts
from runner.plots.pictures import Curves, Matrix, Tiles
from runner.plots.plotter import Plotter
from runner.report import folder_files as files
from runner.snapshots.announcements import megabytes
from runner.snapshots.format.header import Header
from runner.snapshots.restoring.restore import restore
from runner.snapshots.snapshotter import snapshotters
from runner.snapshots.stores.file import FileStore
from runner.snapshots.stores.store import Entry, Store

log = logging.getLogger(__name__)

POINTS = 4000
"""The most points of a curve: of more, each stands for several."""
CLASSES = 40
"""The most classes for which a confusion matrix is a table."""
IMAGES = 400_000
"""The most pixels of weights."""
UNITS = 300
"""The most units of a workflow whose graph is drawn."""
LISTED = 200
"""Snapshots that are in the table; all are on the time line."""


def run_report(folder: Path, workflow: Workflow | None, hurried: bool) -> dict[str, Any]:
    """Returns what the page shows of the run whose folder it is; `hurried` as for `write_report`.

    Raises:
        ConfigError: the folder has nothing of a run.
    """
    read, entries = files.Files.of(folder), _entries(folder, workflow, hurried)
    if not (read.result or read.metrics or read.config or entries or workflow):
        raise ConfigError(
            f"{str(folder)!r} has nothing of a run: no snapshots, no result.json, no .hydra; name the folder of one"
        )
    return _report(str(folder), read, entries, workflow, hurried)


def stored_report(store: Store, newest: Header) -> dict[str, Any]:
    """Returns what the page shows of a run of which there are only snapshots.

    Args:
        store: where they are.
        newest: the header of the newest one.
    """
    return _report(str(store), files.Files(), files.of_run(store, newest.log_id, newest.workflow), None)


def _report(
    place: str, read: files.Files, entries: list[Entry], workflow: Workflow | None, hurried: bool = False
) -> dict[str, Any]:
    notes: list[str] = []
    if workflow is None and entries:
        workflow = _restored(entries[-1], notes)
    newest = entries[-1].header if entries else None
    pictures = _pictures(workflow) if workflow is not None else []
    known = read.metrics if workflow is None else history_of(workflow)
    curves = _metric_curves(known, _unit(workflow)) or _converted(pictures, Curves, _curves)
    typed = read.typed or (newest.overrides if newest else [])
    settings = read.config if isinstance(read.config, dict) else newest.config if newest else {}
    return {
        "name": workflow.name if workflow is not None else newest.workflow if newest else Path(place).name,
        "folder": place,
        "notes": notes,
        "summary": _summary(read.result, workflow, newest),
        "layers": _layers(workflow),
        "data": _data(workflow),
        "conf": read.conf or (newest.conf if newest else None),
        "typed": [text.partition("=")[::2] for text in typed if not text.startswith("conf=")],
        "settings": files.texts(settings),
        "versions": newest.versions if newest else {},
        "runs": files.runs(entries),
        "snapshots": _snapshots(entries)[::-1][:LISTED],
        "score_name": _score_name(entries),
        "count": len(entries),
        "graph": "" if hurried else _graph(workflow),
        "confusion": _converted(pictures, Matrix, _confusion),
        "plotted": {
            "curves": curves,
            "timeline": _timeline(entries),
            "matrices": _converted(pictures, Matrix, _matrix),
            "tiles": _converted(pictures, Tiles, _tiles),
        },
    }


def _entries(folder: Path, workflow: Workflow | None, hurried: bool) -> list[Entry]:
    """Returns the snapshots in the folder, or of a workflow that is at hand, where its own are."""
    for snapshotter in snapshotters(workflow) if workflow is not None else []:
        store = snapshotter.store_
        is_file = isinstance(store, FileStore)
        if store is None or (is_file and Path(store.place).resolve() == folder.resolve()) or (hurried and not is_file):
            continue
        with suppress(SnapshotError):  # a store that is away keeps nobody from the rest of the page
            return files.snapshots(store, runs=snapshotter.runs)
    return files.snapshots(FileStore(folder))


def _restored(entry: Entry, notes: list[str]) -> Workflow | None:
    try:
        return restore(entry.location).workflow
    except (RunnerError, OSError, MemoryError) as error:
        notes.append(f"What only the state of the run says is left out: {first_line(error)}")
        return None


def _pictures(workflow: Workflow) -> list[Any]:
    found = []
    for unit in workflow.units:
        if isinstance(unit, Plotter):
            with suppress(Exception):  # a plotter of the user's own, or a state that does not fit together
                found.append(unit.picture())
    return [picture for picture in found if picture is not None]


def _converted(pictures: Sequence[Any], kind: type, convert: Callable[[Any], Any]) -> list[Any]:
    """Converts pictures of a kind, without those of which the state does not fit together."""
    found = []
    for picture in pictures:
        if isinstance(picture, kind):
            with suppress(Exception):
                found.append(convert(picture))
    return found


def _summary(result: Mapping[str, Any], workflow: Workflow | None, header: Any) -> list[tuple[str, str]]:
    """Returns what matters most, each with its title."""
    found: list[tuple[str, object]] = []
    if workflow is not None and workflow.summary is not None:
        title, _, text = workflow.summary.partition(": ")
        found.append((title, text))
    elif (objective := files.number(result.get("objective"))) is not None:
        found.append(("Objective", f"{objective:.6g}"))
    complete = workflow.complete if workflow is not None else header.complete if header else None
    status = result.get("status") or {True: "finished", False: "not complete", None: None}[complete]
    found.append(("Status", status))
    if header is not None:
        found.append(("Epochs", header.epoch if not header.iteration else f"{header.epoch}, {header.iteration} minibatches"))
    if (seconds := files.number(result.get("seconds"))) is not None:
        found.append(("Time", f"{seconds:.1f} s"))
    seed = result.get("seed") or (header.config.get("seed") if header else None)
    found.append(("Seed", seed))
    found.append(("Error", result.get("error")))
    return [(title, str(text)) for title, text in found if text is not None]


def _layers(workflow: Workflow | None) -> list[dict[str, str]]:
    if not isinstance(workflow, StandardWorkflow):
        return []
    try:
        found = facts.layers(workflow)
    except Exception:  # a state that does not fit together
        return []
    return [
        {"name": layer.name, "type": layer.type, "shape": facts.shape(layer.shape), "parameters": f"{layer.parameters:,}"}
        for layer in found
    ]


def _data(workflow: Workflow | None) -> str:
    if not isinstance(workflow, StandardWorkflow):
        return ""
    return ", ".join(f"{name} {count:,}" for name, count in facts.splits(workflow).items())


def _unit(workflow: Workflow | None) -> str:
    """Returns the unit in which the workflow measures errors."""
    with suppress(Exception):  # a state that does not fit together
        if isinstance(workflow, StandardWorkflow):
            return workflow.decision.metric.unit.strip()
    return ""


def _metric_curves(rows: Sequence[Mapping[str, Any]], unit: str) -> list[dict[str, Any]]:
    """Returns a plot for each quantity in the rows of metrics, with a curve for each split.

    Of several rows of an epoch the last one counts, which is of its end.
    """
    table: dict[str, dict[str, dict[float, float]]] = {}
    for row in rows:
        epoch, split = files.number(row.get("epoch")), row.get("split")
        if epoch is None or not isinstance(split, str):
            continue
        for name, value in row.items():
            if name not in ("epoch", "minibatch", "split", "seconds", "time") and (y := files.number(value)) is not None:
                table.setdefault(name, {}).setdefault(split, {})[epoch] = y
    plots = []
    for name in sorted(table, key=lambda name: (name != "error", name != "loss", name)):
        splits = table[name]
        x = sorted({epoch for values in splits.values() for epoch in values})
        if name == "learning_rate":
            splits = {"": next(iter(splits.values()))}
        title = f"{name} ({unit})" if unit and name == "error" else name.replace("_", " ")
        plots.append(_plot(title, "epoch", x, {s: [v.get(e) for e in x] for s, v in splits.items()}))
    return plots


def _curves(picture: Curves) -> dict[str, Any]:
    length = max((len(values) for values in picture.series.values()), default=0)
    series = {name: [files.number(float(value)) for value in values] for name, values in picture.series.items()}
    padded = {name: [*values, *[None] * (length - len(values))] for name, values in series.items()}
    return _plot(picture.y or picture.title, picture.x, list(range(1, length + 1)), padded)


def _plot(title: str, x_title: str, x: Sequence[float], series: Mapping[str, Sequence[float | None]]) -> dict[str, Any]:
    step = math.ceil(len(x) / POINTS) or 1
    which = sorted({*range(0, len(x), step), len(x) - 1}) if x else []
    numbers = [value for values in series.values() for value in values if value is not None]
    logarithmic = bool(numbers) and min(numbers) > 0 and max(numbers) > 10 * min(numbers)
    return {
        "title": title,
        "x_title": x_title,
        "x": [x[index] for index in which],
        "series": [{"name": name, "y": [values[index] for index in which]} for name, values in series.items()],
        "log": logarithmic,
    }


def _costs(entries: Sequence[Entry]) -> dict[str, Mapping[str, Any]]:
    """Returns what each snapshot cost, by its UUID: the next one of the same process has it in its header."""
    previous = (entry.header.previous for entry in entries)
    return {str(cost["uuid"]): cost for cost in previous if cost and "uuid" in cost}


def _snapshots(entries: Sequence[Entry]) -> list[dict[str, str]]:
    costs, found = _costs(entries), []
    for entry in entries:
        header, cost = entry.header, costs.get(entry.header.uuid, {})
        size, pause, seconds = entry.stored, files.number(cost.get("pause")), files.number(cost.get("seconds"))
        found.append(
            {
                "time": header.time[:19].replace("T", " "),
                "epoch": f"{header.epoch}" + (f" + {header.iteration}" if header.iteration else ""),
                "score": _score(header),
                "size": "" if size is None else megabytes(size),
                "pause": "" if pause is None else f"{1000 * pause:.0f} ms",
                "seconds": "" if seconds is None else f"{seconds:.2f} s",
                "codec": f"{header.codec} {header.level}" + (" (autosave)" if header.autosave else ""),
                "name": Path(entry.location).name,
            }
        )
    return found


def _score(header: Header) -> str:
    """Returns the score as it was measured: headers have the negative of what is to be high."""
    value = header.score if header.split is None else header.metrics[header.split]
    return "" if value is None else f"{value:.4g}"


def _score_name(entries: Sequence[Entry]) -> str:
    """Returns what snapshots are scored by: an error, unless they all monitor something else."""
    decisions = [entry.header.config.get("decision") for entry in entries]
    names = {str(decision.get("monitor") or "error") if isinstance(decision, dict) else "error" for decision in decisions}
    return names.pop() if len(names) == 1 else "score"


def _timeline(entries: Sequence[Entry]) -> dict[str, Any] | None:
    """Returns the snapshots as points over the time."""
    if not entries:
        return None
    costs = _costs(entries)
    ordered = sorted(entries, key=lambda entry: entry.header.time)
    by_uuid = [costs.get(entry.header.uuid, {}) for entry in ordered]
    return {
        "x": [datetime.fromisoformat(entry.header.time).timestamp() for entry in ordered],
        "size": [None if entry.stored is None else entry.stored / 1e6 for entry in ordered],
        "pause": [None if (value := files.number(cost.get("pause"))) is None else 1000 * value for cost in by_uuid],
        "seconds": [files.number(cost.get("seconds")) for cost in by_uuid],
    }


def _names(picture: Matrix, size: int) -> list[str]:
    return [str(name) for name in picture.names] if len(picture.names) == size else [str(number) for number in range(size)]


def _confusion(picture: Matrix) -> dict[str, Any]:
    """Returns a confusion matrix as a table, with a shade from 0 to 9 for each cell."""
    values = np.asarray(picture.values)
    rows, columns = values.shape
    if max(rows, columns) > CLASSES:
        return {"title": picture.title, "x": picture.x, "y": picture.y, "rows": []}
    shares = np.sqrt(values / np.maximum(values.sum(1, keepdims=True), 1))
    cells = [
        [(f"{value:g}" if value else "", int(min(9, 10 * share))) for value, share in zip(line, shade, strict=True)]
        for line, shade in zip(values, shares, strict=True)
    ]
    names = _names(picture, rows)
    table = {"names": names, "named": max(map(len, names)) > 3, "rows": list(zip(names, cells, strict=True))}
    return {"title": picture.title, "x": picture.x, "y": picture.y, **table}


def _matrix(picture: Matrix) -> dict[str, Any] | None:
    """Returns a confusion matrix that is too large for a table as shares of the rows in bytes."""
    values = np.asarray(picture.values)
    if max(values.shape) <= CLASSES:
        return None
    shares = np.sqrt(values / np.maximum(values.sum(1, keepdims=True), 1))
    step = math.ceil(max(values.shape) / 500)
    data = (255 * shares[::step, ::step]).astype(np.uint8)
    return {"title": picture.title, "size": list(data.shape), "data": base64.b64encode(data.tobytes()).decode()}


def _tiles(picture: Tiles) -> dict[str, Any]:
    """Returns images, each on its own scale, in bytes."""
    images = np.asarray(picture.images, float)
    images = images[: max(1, IMAGES // max(1, images[0].size))]
    scales = np.abs(images).max((1, 2), keepdims=True)
    data = np.nan_to_num(images / np.where(scales > 0, scales, 1) * 127).clip(-127, 127).astype(np.int8)
    content = base64.b64encode(data.tobytes()).decode() if data.size <= IMAGES else ""
    return {"title": picture.title, "shape": list(data.shape), "data": content}


def _graph(workflow: Workflow | None) -> str:
    """Returns the drawing of the workflow as an address of its data; nothing without Graphviz."""
    if workflow is None or len(workflow.units) > UNITS:
        return ""
    try:
        text = drawing.dot(workflow).encode()
        done = subprocess.run(["dot", "-Tsvg"], input=text, capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"data:image/svg+xml;base64,{base64.b64encode(done.stdout).decode()}"

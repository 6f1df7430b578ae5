"""The pause of the run."""

from __future__ import annotations

import shutil

import torch

from benchmarks.measure import print_table, seconds, verdict
from benchmarks.snapshots.states import folder, make_workflow


def pauses(megabytes: int, rounds: int) -> None:
    """The pause of the run against one memcpy, torch.save and torch's asynchronous checkpoint."""
    import torch.distributed.checkpoint as dcp

    with folder() as path:
        workflow, snapshotter = make_workflow(megabytes, path, compression="none")
        state = {f"w{number}": tensor for number, tensor in enumerate(workflow["weights"].weights)}
        copies = [torch.empty_like(tensor) for tensor in state.values()]

        def memcpy() -> None:
            for copy, tensor in zip(copies, state.values(), strict=True):
                copy.copy_(tensor)

        futures = []

        def dcp_async() -> None:
            futures.append(dcp.async_save(state, checkpoint_id=str(path / f"dcp{len(futures)}")))

        measured: dict[str, list[float]] = {"ours": [], "memcpy": [], "torch.save": [], "dcp.async_save": []}
        for number in range(rounds + 2):
            spent = {
                "memcpy": seconds(memcpy),
                "ours": seconds(snapshotter.export),
                "torch.save": 0.0,
                "dcp.async_save": 0.0,
            }
            snapshotter.finish()
            spent["torch.save"] = seconds(lambda: torch.save(state, path / "torch.pt"))
            spent["dcp.async_save"] = seconds(dcp_async)
            futures[-1].result()
            for file in path.iterdir():
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            if number >= 2:
                for name, value in spent.items():
                    measured[name].append(value)
    medians = {name: sorted(values)[len(values) // 2] for name, values in measured.items()}
    rows = [(name, f"{1000 * value:.1f}", f"{value / medians['memcpy']:.2f}") for name, value in medians.items()]
    print_table(f"Pause of the run, {megabytes} MB", ("what", "ms", "x memcpy"), rows)
    print(f"\nours <= 1.5 memcpy + 2 ms: {verdict(1000 * medians['ours'], 1500 * medians['memcpy'] + 2)}")
    if megabytes >= 105:
        print(f"ours / torch.save: {verdict(medians['ours'] / medians['torch.save'], 0.2)}")
        print(f"ours / dcp.async_save: {verdict(medians['ours'] / medians['dcp.async_save'], 1.0)}")

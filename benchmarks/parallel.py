"""Several processes that share a run, against DistributedDataParallel of PyTorch, which has other bits for each number of them.

    OMP_NUM_THREADS=1 python -m benchmarks.parallel [--rounds 7]

MNIST, 784-300-10, tanh and softmax, SGD with momentum, 8 shards, one thread in each process, gloo on one machine. Both train in
turns in the same processes; figures are medians of rounds, in milliseconds a minibatch.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from benchmarks.measure import in_turns, print_table
from benchmarks.training import ScaledTanh, data
from runner.launcher import Launcher
from runner.nn import StandardWorkflow
from runner.nn.sharding import exchange
from runner.parallel.process_group import Group
from runner.parallel.processes import ALONE, Processes

SHARDS, STEPS, RATE, MOMENTUM = 8, 20, 0.05, 0.9
LENGTHS = 2_000, 250_000, 2_500_000
"""Numbers in rows that are summed."""
LAYERS = {
    "fc1": {"type": "all2all_tanh", "output_sample_shape": 300, "learning_rate": RATE, "gradient_momentum": MOMENTUM},
    "out": {"type": "softmax", "output_sample_shape": 10, "learning_rate": RATE, "gradient_momentum": MOMENTUM},
}


CONVOLUTION = {
    "conv": {"type": "conv_relu", "n_kernels": 32, "kx": 5, "ky": 5, "learning_rate": RATE},
    "conv2": {"type": "conv_relu", "n_kernels": 16, "kx": 5, "ky": 5, "sliding": 6, "learning_rate": RATE},
    "large": {"type": "all2all_tanh", "output_sample_shape": 8000, "learning_rate": RATE},
    "out": {"type": "softmax", "output_sample_shape": 10, "learning_rate": RATE},
}


def prepared(
    minibatch: int, processes: Processes, shards: int | None = SHARDS, layers: dict[str, Any] = LAYERS
) -> StandardWorkflow:
    """Returns a network that is ready to train."""
    loader = {"minibatch_size": minibatch, "train_size": STEPS * minibatch, "validation_size": 0}
    workflow = StandardWorkflow("mnist", seed=1, loader_name="mnist", loader_config=loader, layers=layers, shards=shards)
    launcher = Launcher(device="cpu", threads=1, processes=processes)
    launcher.prepare(workflow)
    return workflow


def ours(workflow: StandardWorkflow) -> Callable[[], None]:
    """Returns what trains `STEPS` minibatches."""

    def epoch() -> None:
        workflow.decision.reconfigure(max_epochs=len(workflow.decision.history) + 1, fail_iterations=None)
        workflow.run()

    return epoch


def ddp(minibatch: int, processes: Processes) -> Callable[[], None]:
    """Returns what trains as many with DDP; each process has its part of each minibatch."""
    train, labels, *_ = data()
    model = DistributedDataParallel(torch.nn.Sequential(torch.nn.Linear(784, 300), ScaledTanh(), torch.nn.Linear(300, 10)))
    optimizer, loss_function = torch.optim.SGD(model.parameters(), RATE, MOMENTUM), torch.nn.CrossEntropyLoss()
    stream = torch.Generator().manual_seed(1)

    def epoch() -> None:
        wrong = 0
        order = torch.randperm(STEPS * minibatch, generator=stream)
        for chosen in order.view(STEPS, processes.size, -1)[:, processes.rank]:
            optimizer.zero_grad()
            output = model(train[chosen])
            loss_function(output, labels[chosen]).backward()
            optimizer.step()
            wrong += int((output.argmax(1) != labels[chosen]).sum())

    return epoch


def measure(rank: int, size: int, port: int, rounds: int, minibatches: list[int]) -> None:
    """Measures in one of several processes; the first one prints."""
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(size)})
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(1)
    group = Group(rank, size, rank)
    group.connect("cpu", 60)
    for minibatch in minibatches:
        actions = {"DDP": ddp(minibatch, group), "shards": ours(prepared(minibatch, ALONE if size == 1 else group))}
        if size == 1:
            actions["no shards"] = ours(prepared(minibatch, ALONE, None))
        times = {name: 1e3 * seconds / STEPS for name, seconds in in_turns(actions, rounds).items()}
        if rank == 0:
            rows = [(name, f"{time:.2f}", f"{time / times['DDP']:.2f}") for name, time in times.items()]
            title = f"{size} process{'es' if size > 1 else ''}, minibatches of {minibatch}: {minibatch // SHARDS} a shard"
            print_table(title, ["what", "ms a minibatch", "over DDP"], rows)
    if size > 1:
        sums = {f"the sum of {4 * length / 1e6:g} MB": exchanged(group, length) for length in LENGTHS}
        times = in_turns({"findings of 1 KB": lambda: group.gather(torch.zeros(128, dtype=torch.float64)), **sums}, 50)
        if rank == 0:
            rows = [(name, f"{1e3 * time:.2f}") for name, time in times.items()]
            print_table(f"{size} processes: what they exchange", ["what", "ms"], rows)
        times = in_turns(overlapping(group), rounds)
        if rank == 0:
            rows = [(name, f"{1e3 * time / STEPS:.2f}") for name, time in times.items()]
            title = f"{size} processes, convolutions before a layer of 8 MB: its exchange and their backward steps"
            print_table(title, ["exchange", "ms a minibatch"], rows)
    distributed.destroy_process_group()


def overlapping(processes: Processes) -> dict[str, Callable[[], None]]:
    """Returns what trains a network whose large layer is exchanged beside the backward steps of the others, or behind them."""
    actions = {}
    for name, part in (("beside", exchange.PART), ("behind", sys.maxsize)):
        exchange.PART, before = part, exchange.PART
        actions[name] = ours(prepared(SHARDS * 12, processes, layers=CONVOLUTION))
        exchange.PART = before
    return actions


def exchanged(group: Group, length: int) -> Callable[[], object]:
    row = torch.zeros(length)
    return lambda: group.total(row)()


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--minibatches", type=int, nargs="+", default=[96, 800, 1600])
    options = parser.parse_args()
    for size in options.processes:
        values = (size, free_port(), options.rounds, options.minibatches)
        multiprocessing.spawn(measure, values, nprocs=size)


if __name__ == "__main__":
    main()

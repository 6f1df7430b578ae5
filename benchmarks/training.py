"""Training against a hand-written PyTorch loop, PyTorch Lightning and scikit-learn.

    OMP_NUM_THREADS=1 python -m benchmarks.training [--epochs 5]

MNIST, 784-100-10, tanh and softmax, SGD without momentum, minibatch 60, one thread, data in memory, the training error counted
and the validation set scored in each epoch; and the network of conf/mnist_conv.yaml on 10,000 training and 2,000 validation
images, which a loop of PyTorch has also with the channels last. All run in turns in one process; figures are medians of epochs.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from benchmarks.measure import in_turns, print_table, verdict
from runner.datasets import mnist

RATE, MINIBATCH = 0.03, 60
IMAGES = 10_000, 2_000
"""Training and validation images of the convolutional network."""
Epoch = Callable[[], object]


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training and validation data, scaled as our loader scales them."""
    train, validation = mnist.load()
    scaled = [torch.from_numpy(part.data.reshape(len(part.data), -1) / np.float32(127.5) - 1) for part in (train, validation)]
    labels = [torch.from_numpy(part.labels.astype(np.int64)) for part in (train, validation)]
    return scaled[0].float(), labels[0], scaled[1].float(), labels[1]


class ScaledTanh(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 1.7159 * torch.tanh(0.6666 * x)


def network() -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(784, 100), ScaledTanh(), torch.nn.Linear(100, 10))


def ours() -> Epoch:
    layers = {
        "fc1": {"type": "all2all_tanh", "output_sample_shape": 100, "learning_rate": RATE},
        "out": {"type": "softmax", "output_sample_shape": 10, "learning_rate": RATE},
    }
    return our_epoch(layers, {"minibatch_size": MINIBATCH})


def our_epoch(layers: dict[str, Any], loader: dict[str, Any]) -> Epoch:
    from runner.nn import StandardWorkflow

    workflow = StandardWorkflow("mnist", seed=1, loader_name="mnist", loader_config=loader, layers=layers)
    workflow.initialize()

    def epoch() -> None:
        workflow.decision.reconfigure(max_epochs=len(workflow.decision.history) + 1, fail_iterations=None)
        workflow.run()

    return epoch


def pytorch() -> Epoch:
    model = network()
    return loop(model, torch.optim.SGD(model.parameters(), RATE), MINIBATCH, data())


def loop(model: torch.nn.Module, optimizer: torch.optim.Optimizer, minibatch: int, samples: tuple[torch.Tensor, ...]) -> Epoch:
    """The loop that one would write by hand."""
    train, train_labels, validation, validation_labels = samples
    loss_function = torch.nn.CrossEntropyLoss()

    def epoch() -> None:
        wrong = 0
        model.train()
        permutation = torch.randperm(len(train))
        for begin in range(0, len(train), minibatch):
            chosen = permutation[begin : begin + minibatch]
            x, y = train[chosen], train_labels[chosen]
            optimizer.zero_grad()
            output = model(x)
            loss = loss_function(output, y)
            loss.backward()
            optimizer.step()
            wrong += int((output.argmax(1) != y).sum())
        model.eval()
        with torch.no_grad():
            for begin in range(0, len(validation), minibatch):
                x, y = validation[begin : begin + minibatch], validation_labels[begin : begin + minibatch]
                wrong += int((model(x).argmax(1) != y).sum())

    return epoch


def convolutional_network() -> torch.nn.Sequential:
    """The network of conf/mnist_conv.yaml."""
    return torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 16, 5, bias=False), torch.nn.MaxPool2d(2), torch.nn.BatchNorm2d(16), torch.nn.ReLU()),
        *(torch.nn.Conv2d(16, 32, 5, bias=False), torch.nn.MaxPool2d(2), torch.nn.BatchNorm2d(32), torch.nn.ReLU()),
        *(torch.nn.Flatten(), torch.nn.Linear(512, 128), torch.nn.ReLU(), torch.nn.Dropout(0.5), torch.nn.Linear(128, 10)),
    )


def our_convolutional() -> Epoch:
    layers = OmegaConf.load(Path(__file__).parents[1] / "conf" / "mnist_conv.yaml").layers
    train, validation = IMAGES
    return our_epoch(layers, {"minibatch_size": 100, "train_size": train, "validation_size": validation})


def pytorch_convolutional(memory_format: torch.memory_format) -> Epoch:
    train, train_labels, validation, validation_labels = data()
    sizes = [*IMAGES[:1] * 2, *IMAGES[1:] * 2]
    samples = [part[:size] for part, size in zip((train, train_labels, validation, validation_labels), sizes, strict=True)]
    for number in (0, 2):
        samples[number] = samples[number].view(-1, 1, 28, 28).contiguous(memory_format=memory_format)
    model = convolutional_network().to(memory_format=memory_format)
    decayed = [value for value in model.parameters() if value.dim() > 1]
    others = [value for value in model.parameters() if value.dim() == 1]
    groups = [{"params": decayed, "weight_decay": 0.0005}, {"params": others}]
    return loop(model, torch.optim.SGD(groups, 0.1, momentum=0.9), 100, tuple(samples))


def lightning() -> Epoch:
    import lightning

    train, train_labels, validation, validation_labels = data()

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_function = network(), torch.nn.CrossEntropyLoss()

        def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
            output = self.model(batch[0])
            wrong = (output.detach().argmax(1) != batch[1]).float().mean()
            self.log("train_error", wrong, on_step=False, on_epoch=True)
            return self.loss_function(output, batch[1])

        def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
            self.log("validation_error", (self.model(batch[0]).argmax(1) != batch[1]).float().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), RATE)

    def loader(x: torch.Tensor, y: torch.Tensor, shuffle: bool) -> torch.utils.data.DataLoader:
        return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), MINIBATCH, shuffle=shuffle)

    module = Module()
    loaders = loader(train, train_labels, True), loader(validation, validation_labels, False)

    def epoch() -> None:
        trainer = lightning.Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(module, *loaders)

    return epoch


def sklearn() -> Epoch:
    from sklearn.neural_network import MLPClassifier

    train, train_labels, validation, _ = (part.numpy() for part in data())
    model = MLPClassifier(
        (100,), activation="tanh", solver="sgd", alpha=0, batch_size=MINIBATCH, learning_rate_init=RATE, momentum=0, max_iter=1
    )
    model.warm_start = True

    def epoch() -> None:
        model.fit(train, train_labels)
        model.predict(validation)

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    compare(
        "MNIST 784-100-10, an epoch",
        {"veles-run": ours(), "PyTorch loop": pytorch(), "PyTorch Lightning": lightning(), "scikit-learn": sklearn()},
        {"PyTorch loop": 0.75, "PyTorch Lightning": 0.30, "scikit-learn": 0.90},
        options.epochs,
    )
    compare(
        "The network of mnist_conv, an epoch of 10,000 images",
        {
            "veles-run": our_convolutional(),
            "PyTorch loop": pytorch_convolutional(torch.contiguous_format),
            "PyTorch loop, channels last": pytorch_convolutional(torch.channels_last),
        },
        {"PyTorch loop": 1.0, "PyTorch loop, channels last": 1.0},
        options.epochs,
    )


def compare(title: str, epochs: dict[str, Epoch], targets: dict[str, float], rounds: int) -> None:
    """Runs the epochs in turns and prints how long each took, and our share of it."""
    times = in_turns(epochs, rounds)
    rows = [
        (name, f"{spent:.3f}", verdict(times["veles-run"] / spent, targets[name]) if name in targets else "")
        for name, spent in times.items()
    ]
    print_table(title, ("what", "s", "veles-run / it"), rows)


if __name__ == "__main__":
    main()

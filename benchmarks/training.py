"""Training against a hand-written PyTorch loop, PyTorch Lightning and scikit-learn.

    OMP_NUM_THREADS=1 python -m benchmarks.training [--epochs 5]

MNIST, 784-100-10, tanh and softmax, SGD without momentum, minibatch 60, one thread, data in memory, the training error counted
and the validation set scored in each epoch. All run in turns in one process; figures are medians of epochs.
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.measure import in_turns, print_table, verdict
from runner.datasets import mnist

RATE, MINIBATCH = 0.03, 60
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
    from runner.nn import StandardWorkflow

    layers = {
        "fc1": {"type": "all2all_tanh", "output_sample_shape": 100, "learning_rate": RATE},
        "out": {"type": "softmax", "output_sample_shape": 10, "learning_rate": RATE},
    }
    workflow = StandardWorkflow(
        "mnist", seed=1, loader_name="mnist", loader_config={"minibatch_size": MINIBATCH}, layers=layers
    )
    workflow.initialize()

    def epoch() -> None:
        workflow.decision.reconfigure(max_epochs=len(workflow.decision.history) + 1, fail_iterations=None)
        workflow.run()

    return epoch


def pytorch() -> Epoch:
    """The loop that one would write by hand."""
    train, train_labels, validation, validation_labels = data()
    model, loss_function = network(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    def epoch() -> None:
        wrong = 0
        permutation = torch.randperm(len(train))
        for begin in range(0, len(train), MINIBATCH):
            chosen = permutation[begin : begin + MINIBATCH]
            x, y = train[chosen], train_labels[chosen]
            optimizer.zero_grad()
            output = model(x)
            loss = loss_function(output, y)
            loss.backward()
            optimizer.step()
            wrong += int((output.argmax(1) != y).sum())
        with torch.no_grad():
            for begin in range(0, len(validation), MINIBATCH):
                x, y = validation[begin : begin + MINIBATCH], validation_labels[begin : begin + MINIBATCH]
                wrong += int((model(x).argmax(1) != y).sum())

    return epoch


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
    epochs = {"veles-run": ours(), "PyTorch loop": pytorch(), "PyTorch Lightning": lightning(), "scikit-learn": sklearn()}
    times = in_turns(epochs, options.epochs)
    targets = {"PyTorch loop": 0.75, "PyTorch Lightning": 0.30, "scikit-learn": 0.90}
    rows = [
        (name, f"{spent:.3f}", verdict(times["veles-run"] / spent, targets[name]) if name in targets else "")
        for name, spent in times.items()
    ]
    print_table("MNIST 784-100-10, an epoch", ("what", "s", "veles-run / it"), rows)


if __name__ == "__main__":
    main()

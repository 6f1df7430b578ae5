"""A network with a unit of one's own: noise on the images, between the loader and the first layer.

veles-run conf=noisy                                    in this folder, which has conf/noisy.yaml
veles-run conf=noisy workflow.noise=0.5
veles-run conf=noisy snapshot=latest workflow.noise=0.2
veles-run conf=noisy graph=noisy.svg
"""

from typing import Any

from runner import ConfigError, StandardWorkflow, Unit
from runner.nn.core.random_stream import Stream


class Noise(Unit):
    """Adds noise to what it is given, in training.

    Linked attributes:
        input_: the minibatch, of any shape.
        evaluating: true when the minibatch is not for training.

    Attributes for others:
        output_: the same with noise. Its name ends in `_`: a snapshot does not need it.
    """

    adjustable = frozenset({"noise"})
    input_: Any
    evaluating: Any

    def __init__(self, workflow: StandardWorkflow, *, seed: int, noise: float) -> None:
        super().__init__(workflow, "noise")
        self.reconfigure(noise=noise)
        self.stream = Stream(seed, "noise")  # random numbers whose state is part of the snapshot
        self.demand("input_", "evaluating")

    def reconfigure(self, **changes: Any) -> None:
        super().reconfigure(**changes)
        if self.noise < 0:
            raise ConfigError(f"workflow.noise={self.noise} must be at least 0")

    def run(self) -> None:
        self.output_ = self.input_
        if not self.evaluating:
            drawn = self.stream.gaussian(tuple(self.input_.shape), self.noise, self.input_.dtype)
            self.output_ = self.input_ + drawn.to(self.input_.device, non_blocking=True)


class NoisyWorkflow(StandardWorkflow):
    """The standard workflow with noise. Keys below `workflow` are arguments; the other sections are the network's, as ever."""

    def __init__(self, name: str, *, seed: int, noise: float = 0.1, **settings: Any) -> None:
        super().__init__(name, seed=seed, **settings)
        first = self.forwards[0]
        self.noise = Noise(self, seed=seed, noise=noise)
        self.noise.link_attrs(self.loader, ("input_", "minibatch_data_"), "evaluating")
        first.link_attrs(self.noise, ("input_", "output_"))
        first.unlink_from(self.loader)
        first.link_from(self.noise.link_from(self.loader))

    def override(self, key: str, value: Any) -> None:
        if key == "workflow.noise":
            self.noise.reconfigure(noise=value)
        else:
            super().override(key, value)

"""A layer of one's own: any module of torch is one, and its gradients come from autograd.

veles-run conf=maxout                                   in this folder, which has conf/maxout.yaml
veles-run conf=maxout layers.fc1.pieces=4 layers.fc1.learning_rate=0.05
veles-run conf=maxout snapshot=latest decision.max_epochs=20
"""

import torch
from torch import Tensor


class Maxout(torch.nn.Module):
    """The largest of several linear functions, for each output (Goodfellow and others, 2013), with inputs dropped in training.

    Keys of the layer are arguments, but for those of its gradient descent. Random numbers come from torch's global generator:
    the run has seeded it, and its state is part of every snapshot, as are parameters and buffers.
    """

    def __init__(self, inputs: int, outputs: int, pieces: int = 2, dropped: float = 0.2) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(inputs, outputs * pieces)
        self.pieces, self.dropped = pieces, dropped

    def forward(self, samples: Tensor) -> Tensor:
        kept = torch.nn.functional.dropout(samples.flatten(1), self.dropped, self.training)
        return self.linear(kept).unflatten(1, (-1, self.pieces)).amax(2)

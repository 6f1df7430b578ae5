"""A transformer that learns to sort: for each place of a sequence, which number stands there when it is sorted.

veles-run sorting                                       in this folder, which has conf/sorting.yaml
"""

import torch
from torch import Tensor, nn


class Sequences(torch.utils.data.TensorDataset):
    """Random sequences, and the same in order."""

    def __init__(self, count: int, length: int, numbers: int) -> None:
        sequences = torch.randint(numbers, (count, length))
        super().__init__(sequences, sequences.sort(1).values)


class Sorter(nn.Module):
    """Gives scores of shape (samples, numbers, length), as torch's cross-entropy takes them."""

    def __init__(self, numbers: int, length: int, width: int = 32, heads: int = 4, layers: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(numbers, width)
        self.places = nn.Parameter(torch.randn(length, width) / 10)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(width, heads, 2 * width, batch_first=True), layers)
        self.head = nn.Linear(width, numbers)

    def forward(self, sequences: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(sequences) + self.places)).transpose(1, 2)

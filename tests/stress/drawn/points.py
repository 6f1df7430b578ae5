"""Points with labels or targets, and a network for them."""

import torch
from torch import Tensor
from torch.utils.data import Dataset

NORMS = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm, "none": torch.nn.Identity}
LAST = {"sigmoid": torch.nn.Sigmoid, "log": lambda: torch.nn.LogSoftmax(1), "": torch.nn.Identity}


class Points(Dataset):  # type: ignore[type-arg]
    def __init__(self, count: int, seed: int, width: int, classes: int, targets: int) -> None:
        drawn = torch.Generator().manual_seed(seed)
        self.points = torch.randn(count, width, generator=drawn) * 3 + 1
        self.labels = torch.randint(classes or 1, (count,), generator=drawn)
        self.targets = torch.randn(count, targets, generator=drawn) if targets else None

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor]:
        return self.points[index], int(self.labels[index]) if self.targets is None else self.targets[index]


class Net(torch.nn.Module):
    def __init__(self, width: int, outputs: int, norm: str, last: str) -> None:
        super().__init__()
        self.first = torch.nn.Linear(width, 6)
        self.norm = NORMS[norm](6)
        self.drop = torch.nn.Dropout(0.3)
        self.second = torch.nn.Linear(6, outputs)
        self.last = LAST[last]()

    def forward(self, points: Tensor) -> Tensor:
        return self.last(self.second(self.drop(torch.relu(self.norm(self.first(points))))))  # type: ignore[no-any-return]

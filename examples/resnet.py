"""A small residual network, and digits that are even or odd to fine-tune it on.

veles-run resnet                                        in this folder, which has conf/resnet.yaml
veles-run resnet_mnist                                  on MNIST
veles-run parity init_from=SNAPSHOT                     the trunk of that run, frozen, with another head
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn


class Block(nn.Module):
    """Two convolutions, beside which the input passes by."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = (nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        more = (nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))
        self.layers = nn.Sequential(*layers, nn.ReLU(), *more)

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(images + self.layers(images))


class ResNet(nn.Module):
    def __init__(self, classes: int, width: int = 16, blocks: int = 2, stride: int = 1) -> None:
        super().__init__()
        stem = (nn.Unflatten(1, (1, -1)), nn.Conv2d(1, width, 3, stride, padding=1))
        self.trunk = nn.Sequential(*stem, *(Block(width) for _ in range(blocks)), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * width, classes)

    def forward(self, samples: Tensor) -> Tensor:
        return self.head(self.trunk(samples))


class Parity(torch.utils.data.TensorDataset):
    def __init__(self) -> None:
        digits = load_digits()
        super().__init__(torch.from_numpy(digits.images).float(), torch.from_numpy(digits.target % 2))

"""Contrastive learning on digits, without labels: two noisy views of an image are to be nearer to each other than to others.

veles-run contrasted                                    in this folder, which has conf/contrasted.yaml
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize


class Contrasted(nn.Module):
    """`forward` is what the network gives in use: a direction for each image."""

    def __init__(self, size: int = 16, noise: float = 0.3, temperature: float = 0.2, lr: float = 0.002) -> None:
        super().__init__()
        self.noise, self.temperature = noise, temperature
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, size))
        self.optimizer = torch.optim.AdamW(self.encoder.parameters(), lr=lr)

    def forward(self, images: Tensor) -> Tensor:
        return normalize(self.encoder(images))

    def evaluation_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        first, second = (self(images + self.noise * torch.randn_like(images)) for _ in range(2))
        alike, own = first @ second.t() / self.temperature, torch.arange(len(images), device=images.device)
        return {"loss": cross_entropy(alike, own), "confused": (alike.argmax(1) != own).float().mean()}

    def training_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        numbers = self.evaluation_step(images, labels)
        self.optimizer.zero_grad()
        numbers["loss"].backward()
        self.optimizer.step()
        return numbers

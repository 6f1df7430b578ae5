"""Distillation on digits: a large network learns the labels, and a small one the large one's answers.

veles-run distilled                                     in this folder, which has conf/distilled.yaml
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div


class Distilled(nn.Module):
    """`forward` is what the network gives in use: the answers of the small one."""

    def __init__(self, hidden: int = 12, temperature: float = 3.0, lr: float = 0.003) -> None:
        super().__init__()
        self.temperature = temperature
        self.teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 200), nn.ReLU(), nn.Dropout(0.3), nn.Linear(200, 10))
        self.student = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10))
        self.of_teacher = torch.optim.AdamW(self.teacher.parameters(), lr=lr)
        self.of_student = torch.optim.AdamW(self.student.parameters(), lr=lr)

    def forward(self, images: Tensor) -> Tensor:
        return self.student(images)

    def evaluation_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        taught, learned = self.teacher(images), self.student(images)
        apart = (learned / self.temperature).log_softmax(1), (taught.detach() / self.temperature).softmax(1)
        mistakes = (learned.argmax(1) != labels).float().mean()
        return {"loss": kl_div(*apart, reduction="batchmean"), "teaching": cross_entropy(taught, labels), "mistakes": mistakes}

    def training_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        losses = self.evaluation_step(images, labels)
        for name, optimizer in {"loss": self.of_student, "teaching": self.of_teacher}.items():
            optimizer.zero_grad()
            losses[name].backward()
            optimizer.step()
        return losses

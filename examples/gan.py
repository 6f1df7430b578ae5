"""A generative adversarial network on digits: two models and two optimizers in a training step of their own.

veles-run gan                                           in this folder, which has conf/gan.yaml
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as distance


class GAN(nn.Module):
    """`forward` is what the network gives in use: here, how real the images of a minibatch look."""

    def __init__(self, noise: int = 16, lr: float = 0.002) -> None:
        super().__init__()
        self.noise = noise
        self.generator = nn.Sequential(
            nn.Linear(noise, 64), nn.ReLU(), nn.Linear(64, 64), nn.Sigmoid(), nn.Unflatten(1, (8, 8))
        )
        self.critic = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
        self.of_generator = torch.optim.Adam(self.generator.parameters(), lr=lr, betas=(0.5, 0.999))
        self.of_critic = torch.optim.Adam(self.critic.parameters(), lr=lr, betas=(0.5, 0.999))

    def forward(self, images: Tensor) -> Tensor:
        return self.critic(images)

    def evaluation_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        made, real = (
            self.critic(self.generator(torch.randn(len(images), self.noise, device=images.device))),
            self.critic(images),
        )
        found = (distance(real, torch.ones_like(real)) + distance(made, torch.zeros_like(made))) / 2
        return {"loss": found, "fooled": distance(made, torch.ones_like(made))}

    def training_step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        for name, optimizer in {"loss": self.of_critic, "fooled": self.of_generator}.items():
            optimizer.zero_grad()
            self.evaluation_step(images, labels)[name].backward()
            optimizer.step()
        return self.evaluation_step(images, labels)

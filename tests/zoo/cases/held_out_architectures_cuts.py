"""Missing gradients in whole architectures that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm1(x)
        x = x + self.attention(h, h, h, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Patches, position, blocks, head; one step can be spoilt."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.position = nn.Parameter(torch.randn(1, 17, 32) * 0.02)
        self.token = nn.Parameter(torch.zeros(1, 1, 32))
        self.blocks = nn.ModuleList([Block() for _ in range(3)])
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 5)

    def embed(self, image: torch.Tensor) -> torch.Tensor:
        x = self.patch(image).flatten(2).transpose(1, 2)
        return torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.position

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.embed(image)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


class VitWithoutBlocks(Vit):
    """Pools the patches before the blocks, by a copy-paste error."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.embed(image)
        kept = x
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(kept)[:, 1:].mean(1))


@faulty(Expected("unused-parameter"), "none")
def vit_whose_blocks_lead_nowhere() -> Built:
    suffers = ("blocks.0.mlp.0.weight", "blocks.2.norm1.weight")
    return Built(VitWithoutBlocks(), (torch.randn(6, 3, 16, 16),), classes(5, 6), "cross_entropy", suffers=suffers)


class VitDetached(Vit):
    """The second block's input is detached."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.embed(image)
        for index, block in enumerate(self.blocks):
            x = block(x.detach() if index == 1 else x)
        return self.head(self.norm(x)[:, 0])


@faulty(Expected("detached-graph", op="aten::detach"), "none")
def vit_detached_between_blocks() -> Built:
    suffers = ("patch.weight", "position", "blocks.0.mlp.0.weight")
    return Built(VitDetached(), (torch.randn(6, 3, 16, 16),), classes(5, 6), "cross_entropy", suffers=suffers)


class VqVae(nn.Module):
    """A codebook without the straight-through step."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 8))
        self.codes = nn.Embedding(20, 8)
        self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x)
        nearest = torch.cdist(z, self.codes.weight).argmin(1)
        return F.mse_loss(self.decoder(self.codes(nearest)), x)


@faulty(Expected("non-differentiable-op", op="aten::argmin"), "none")
def codebook_without_straight_through() -> Built:
    return Built(VqVae(), (torch.randn(24, 16),), None, "model", suffers=("encoder.0.weight", "encoder.2.weight"))


class Router(nn.Module):
    """Top-1 experts whose weight is not multiplied in."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(10, 3)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4)) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        chosen = F.one_hot(self.router(x).softmax(-1).topk(1, -1)[1].squeeze(-1), 3).to(x.dtype)
        together = torch.stack([expert(x) for expert in self.experts], 1)
        return (together * chosen.unsqueeze(-1)).sum(1)


@faulty(Expected("non-differentiable-op"), "none")
def experts_without_the_weight_of_the_router() -> Built:
    return Built(Router(), (torch.randn(30, 10),), classes(4, 30), "cross_entropy", suffers=("router.weight",))


class Gan(nn.Module):
    """The generator's loss reads a detached fake."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 8), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        fake = self.generator(noise).detach()
        return F.softplus(-self.critic(fake)).mean()


@faulty(Expected("detached-graph", op="aten::detach"), "none")
def generator_step_on_a_detached_fake() -> Built:
    return Built(Gan(), (torch.randn(20, 4),), None, "model", suffers=("generator.0.weight", "generator.2.bias"))


class Seq2Seq(nn.Module):
    """Feeds back the argmax of its own last step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(15, 16)
        self.encoder = nn.GRU(16, 24, batch_first=True)
        self.cell = nn.GRUCell(16, 24)
        self.head = nn.Linear(24, 15)

    def forward(self, source: torch.Tensor) -> torch.Tensor:
        state = self.encoder(self.embed(source))[1][0].detach()
        token = torch.zeros(source.size(0), dtype=torch.long)
        steps = []
        for _ in range(4):
            state = self.cell(self.embed(token), state)
            logits = self.head(state)
            steps.append(logits)
            token = logits.argmax(-1)
        return torch.stack(steps, -1)


@faulty(Expected("detached-graph", op="aten::detach"), "none")
def decoder_starts_from_a_detached_state() -> Built:
    source = torch.randint(15, (8, 6))
    return Built(Seq2Seq(), (source,), torch.randint(15, (8, 4)), "cross_entropy", suffers=("encoder.weight_ih_l0",))


class Kept(nn.Module):
    """Reads a copy of its scale that was made when it was built."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(9, 9)
        self.scale = nn.Parameter(torch.rand(9) + 0.5)
        self.register_buffer("fast_scale", self.scale.detach().clone())
        self.head = nn.Linear(9, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.net(x)) * self.fast_scale)


@faulty(Expected("shadowed-parameter", parameter="scale"), "none")
def scale_kept_as_a_buffer() -> Built:
    return Built(Kept(), (torch.randn(14, 9),), classes(2, 14), "cross_entropy", suffers=("scale",))


class Everything(nn.Module):
    """A backbone and a head, all of it frozen by a loop that should have spared the head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv1d(2, 8, 3), nn.ReLU())
        self.head = nn.Linear(8, 3)
        self.requires_grad_(requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x).mean(2))


@faulty(Expected("frozen-parameter"), "untrainable")
def head_frozen_with_the_backbone() -> Built:
    return Built(Everything(), (torch.randn(9, 2, 20),), classes(3, 9), "cross_entropy")

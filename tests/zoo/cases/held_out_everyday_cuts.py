"""Missing gradients as they happen on an ordinary day, in models that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Recommender(nn.Module):
    """Two towers; the item tower's result was meant for a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(50, 16)
        self.items = nn.Embedding(70, 16)
        self.user_tower = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.item_tower = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        u = self.user_tower(self.users(user))
        with torch.no_grad():
            i = self.item_tower(self.items(item))
        return (u * i).sum(-1)


@faulty(Expected("detached-graph"), "none", "script")  # a trace does not record no_grad
def recommender_with_cached_items() -> Built:
    user, item = torch.randint(50, (24,)), torch.randint(70, (24,))
    suffers = ("items.weight", "item_tower.0.weight", "item_tower.2.bias")
    return Built(
        Recommender(), (user, item), (torch.rand(24) > 0.5).float(), "binary_cross_entropy_with_logits", suffers=suffers
    )


class HardAttention(nn.Module):
    """Picks the best patch by argmax."""

    def __init__(self) -> None:
        super().__init__()
        self.scorer = nn.Linear(12, 1)
        self.value = nn.Linear(12, 20)
        self.head = nn.Linear(20, 4)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        best = self.scorer(patches).squeeze(-1).argmax(1)
        chosen = patches[torch.arange(patches.size(0)), best]
        return self.head(torch.relu(self.value(chosen)))


@faulty(Expected("non-differentiable-op", op="aten::argmax"), "none")
def patches_chosen_by_argmax() -> Built:
    return Built(
        HardAttention(), (torch.randn(16, 9, 12),), classes(4, 16), "cross_entropy", suffers=("scorer.weight",)
    )


class Counted(nn.Module):
    """A loss on how many are above the threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))

    def forward(self, x: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        score = self.net(x).squeeze(1)
        share = (score > 0).to(x.dtype).mean()
        return (share - wanted.mean()) ** 2


@faulty(Expected("non-differentiable-op", op="aten::gt"), "none")
def loss_on_a_count() -> Built:
    return Built(Counted(), (torch.randn(20, 6), torch.rand(20)), None, "model", suffers=("net.0.weight", "net.2.bias"))


class TwoHeads(nn.Module):
    """A second head that nobody connected."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(3, 12, 5, padding=2), nn.BatchNorm1d(12), nn.ReLU())
        self.coarse = nn.Linear(12, 3)
        self.fine = nn.Linear(12, 9)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.stem(x).mean(2)
        return self.coarse(h), self.fine(h)


@faulty(Expected("unused-parameter", module="fine"), "none")
def the_loss_reads_one_head() -> Built:
    return Built(
        TwoHeads(),
        (torch.randn(12, 3, 30),),
        classes(3, 12),
        "cross_entropy",
        output="0",
        suffers=("fine.weight", "fine.bias"),
    )


class Accumulated(nn.Module):
    """Writes each head's logits into a buffer, always to the same columns."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(10, 16)
        self.first = nn.Linear(16, 5)
        self.second = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.trunk(x))
        logits = torch.zeros(x.size(0), 5)
        logits[:, :] = self.first(h)
        logits[:, :] = self.second(h)
        return logits


@faulty(Expected("overwritten-value"), "zero")
def second_head_writes_over_the_first() -> Built:
    return Built(Accumulated(), (torch.randn(15, 10),), classes(5, 15), "cross_entropy", suffers=("first.weight",))

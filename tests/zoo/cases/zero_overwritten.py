"""Faulty models whose values are overwritten, read from a copy, or no part of the loss."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class WindowOverwritten(nn.Module):
    """Every step of the output is written over by the skip input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(3, 3, 3, padding=1)
        self.head = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        y[:, :, :] = x
        return self.head(y.mean(-1))


@faulty(Expected("overwritten-value", op="aten::copy_", line="y[:, :, :] = x"), "zero")
def convolution_written_over() -> Built:
    suffers = ("conv.weight", "conv.bias")
    return Built(WindowOverwritten(), (torch.randn(8, 3, 9),), classes(2, 8), "cross_entropy", suffers=suffers)


class WrongBlock(nn.Module):
    """Three branches are joined, two are read."""

    def __init__(self) -> None:
        super().__init__()
        self.small = nn.Linear(10, 4)
        self.middle = nn.Linear(10, 6)
        self.large = nn.Linear(10, 8)
        self.head = nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        joined = torch.cat([self.small(x), self.middle(x), self.large(x)], dim=-1)
        return self.head(F.relu(joined)[:, :10])


@faulty(Expected("overwritten-value", op="aten::slice", line="[:, :10]"), "zero")
def last_branch_never_selected() -> Built:
    suffers = ("large.weight", "large.bias")
    return Built(WrongBlock(), (torch.randn(16, 10),), classes(3, 16), "cross_entropy", suffers=suffers)


class MaskFilled(nn.Module):
    """A padding mask that marks everything as padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(25, 8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, tokens: torch.Tensor, is_padding: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.mix(self.embed(tokens)))
        h = h.masked_fill(is_padding.unsqueeze(-1) > 0, 0.0)
        return self.head(h.sum(1))


@faulty(Expected("overwritten-value", op="aten::masked_fill", line="masked_fill"), "zero")
def everything_is_padding() -> Built:
    inputs = (torch.randint(0, 25, (8, 6)), torch.ones(8, 6))
    return Built(MaskFilled(), inputs, classes(4, 8), "cross_entropy", suffers=("embed.weight", "mix.weight"))


class FrozenTwin(nn.Module):
    """Forward uses the average copy that was meant for evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3)
        self.averaged = nn.Conv2d(3, 6, 3)
        self.averaged.load_state_dict(self.body.state_dict())
        self.averaged.requires_grad_(requires_grad=False)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.averaged(x)).mean(dim=(2, 3)))


@faulty(Expected("shadowed-parameter", parameter=("body.weight", "body.bias")), "none")
def averaged_copy_left_switched_on() -> Built:
    return Built(FrozenTwin(), (torch.randn(6, 3, 8, 8),), classes(2, 6), "cross_entropy", suffers=("body.weight",))


class TransposedCopy(nn.Module):
    """The matrix is kept a second time, transposed, for speed."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(5, 11) * 0.3)
        self.register_buffer("turned", self.matrix.detach().t().contiguous())
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.mm(x, self.turned) * self.scale


@faulty(Expected("shadowed-parameter", parameter="matrix"), "none")
def transposed_copy_of_a_matrix() -> Built:
    return Built(TransposedCopy(), (torch.randn(16, 11),), torch.randn(16, 5), "mse_loss", suffers=("matrix",))


class ConstantTable(nn.Module):
    """A traced model that read its table through `.data`, so that the trace has it as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(7, 4))
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(x @ torch.tensor(self.table.tolist())))


@faulty(Expected("shadowed-parameter", parameter="table"), "none", "trace")
def table_traced_as_a_constant() -> Built:
    return Built(ConstantTable(), (torch.randn(12, 7),), classes(3, 12), "cross_entropy", suffers=("table",))


class Accuracy(nn.Module):
    """The share of correct answers is no loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.body(x)
        weights = torch.full((3,), 0.5)
        return weights[y].mean(), logits


@faulty(Expected("loss-disconnected", name="loss"), "none")
def loss_of_class_weights_alone() -> Built:
    inputs = (torch.randn(9, 8), classes(3, 9))
    return Built(Accuracy(), inputs, None, "model", suffers=("body.weight",), output="0")


class Fixed(nn.Module):
    """No parameters at all: the weights became buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(3, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(torch.tanh(x), self.weight)


@faulty(Expected("loss-disconnected", name="loss"), "untrainable")
def model_without_parameters() -> Built:
    return Built(Fixed(), (torch.randn(8, 6),), classes(3, 8), "cross_entropy")


class ConstantOutput(nn.Module):
    """The second output, which the loss gets, is the input again."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.GRU(4, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out, _ = self.body(x)
        return out, x * 0.5


@faulty(Expected("loss-disconnected", name="loss"), "none")
def loss_of_the_input() -> Built:
    x = torch.randn(5, 7, 4)
    return Built(ConstantOutput(), (x,), x.clone(), "mse_loss", suffers=("body.weight_ih_l0",), output="1")

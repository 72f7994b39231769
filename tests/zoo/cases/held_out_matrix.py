"""Every kind of fault planted at the same place of many architectures; written before any rule saw the combinations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import CASES, Built, Case, Expected, Fault, Form, classes

if TYPE_CHECKING:
    from collections.abc import Callable

FORMS: tuple[Form, Form] = ("script", "trace")
WIDTH, CLASSES, ROWS = 24, 4, 16


class Base(nn.Module):
    """An architecture: features ``[rows, WIDTH]`` from a body, something in the middle, and a head."""

    def __init__(self, body: nn.Module, mid: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.mid = mid
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.mid(self.body(x)))


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1)
        self.bn = nn.BatchNorm2d(12)
        self.conv2 = nn.Conv2d(12, WIDTH, 3, stride=2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv2(F.relu(self.bn(self.conv1(x))))).mean(dim=(2, 3))


class ResidualImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.convs = nn.ModuleList([nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(3)])
        self.norms = nn.ModuleList([nn.GroupNorm(4, WIDTH) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for conv, norm in zip(self.convs, self.norms):  # noqa: B905 - TorchScript has no strict
            x = x + F.silu(norm(conv(x)))
        return x.flatten(2).mean(-1)


class Patches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.place = nn.Parameter(torch.randn(1, 16, WIDTH) * 0.02)
        self.layer = nn.TransformerEncoderLayer(WIDTH, 4, 48, dropout=0.0, batch_first=True, norm_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(self.embed(x).flatten(2).transpose(1, 2) + self.place).mean(1)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.lstm = nn.LSTM(16, WIDTH, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(self.embed(x))[0][:, -1]


class Waves(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 16, 5, padding=2)
        self.gru = nn.GRU(16, WIDTH, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(F.leaky_relu(self.conv(x)).transpose(1, 2))[0].mean(1)


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(6, WIDTH)
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.into(x)
        y = F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.norm(x + y).mean(1)


class Rows(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, WIDTH), nn.Tanh())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


BASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "images": (Images, lambda: torch.randn(ROWS, 3, 12, 12)),
    "residual_images": (ResidualImages, lambda: torch.randn(ROWS, 3, 8, 8)),
    "patches": (Patches, lambda: torch.randn(ROWS, 3, 16, 16)),
    "words": (Words, lambda: torch.randint(0, 50, (ROWS, 9))),
    "waves": (Waves, lambda: torch.randn(ROWS, 2, 20)),
    "attending": (Attending, lambda: torch.randn(ROWS, 7, 6)),
    "rows": (Rows, lambda: torch.randn(ROWS, 10)),
}


class Own(nn.Module):
    """A layer of its own, then the fault."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, WIDTH)


class Fine(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(x))


class Detached(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(x)).detach()


class Watched(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return torch.tanh(self.fc(x))


class Rounded(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.floor(self.fc(x) * 4) / 4


class Counted(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x).long().float()


class Compared(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.fc(x) > 0).to(torch.float32)


class Clamped(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(self.fc(x), 6.0, 8.0)


class Capped(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.minimum(self.fc(x), torch.full_like(x, -7.0))


class Silenced(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) * 0.0 + 1.0


class Masked(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) * torch.zeros(x.size(0), 1)


class Off(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.fc(x) - 50.0)


class OffInPlace(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x) - 50.0
        return y.relu_()


class Saturated(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(x) + 40.0)


class SaturatedMethod(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.fc(x) * 3000.0).sigmoid()


class HardSaturated(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.hardtanh(self.fc(x) + 9.0)


class OneHot(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softmax(self.fc(x) * 1e4, dim=-1)


class Constant(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(self.fc(x).unsqueeze(-1), [1]).squeeze(-1)


class Overwritten(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        y[:] = 0.5
        return y


class Logarithm(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(F.relu(self.fc(x)))


class Root(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.fc(x)
        return y + torch.sqrt(((y - y.detach()) ** 2).sum(-1, keepdim=True))


class Overflowing(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.fc(x) * 2000.0)


class Dropped(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(torch.tanh(self.fc(x)), 0.96, self.training)


class OverTheBatch(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.fc(x), dim=0) * 16


class Forgotten(Own):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(x))


class Spoiled(Own):
    def __init__(self) -> None:
        super().__init__()
        self.fc.weight = nn.Parameter(self.fc.weight.detach().clone().index_fill(0, torch.tensor([3]), float("nan")))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(x))


class Stale(Own):
    def __init__(self) -> None:
        super().__init__()
        self.saved = nn.Buffer(self.fc.weight.detach().clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(F.linear(x, self.saved, self.fc.bias))


class Dead(Own):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, WIDTH)
        for each in self.parameters():
            nn.init.zeros_(each)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.fc(x)))


class Alike(Own):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, WIDTH)
        nn.init.constant_(self.fc.weight, 0.05)
        nn.init.constant_(self.fc.bias, 0.0)
        nn.init.constant_(self.out.weight, 0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.fc(x)))


class Collapsed(Own):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.out(self.fc(x)))


class UpsideDown(Own):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.fc(x)).t().reshape(x.size(0), -1)


MIDS: tuple[tuple[type[nn.Module], str, Fault, str | None, str | None], ...] = (
    # module, code, what the eager gradient of mid.fc.weight is, operator, parameter
    (Detached, "detached-graph", "none", "aten::detach", None),
    (Watched, "detached-graph", "none", None, None),
    (Rounded, "zero-derivative-op", "zero", "aten::floor", None),
    (Counted, "non-differentiable-op", "none", "aten::to", None),
    (Compared, "non-differentiable-op", "none", "aten::gt", None),
    (Clamped, "clamp-saturation", "zero", "aten::clamp", None),
    (Capped, "clamp-saturation", "zero", "aten::minimum", None),
    (Silenced, "zero-multiplier", "zero", "aten::mul", None),
    (Masked, "zero-multiplier", "zero", "aten::mul", None),
    (Off, "dead-relu", "zero", "aten::relu", None),
    (OffInPlace, "dead-relu", "zero", "aten::relu_", None),
    (Saturated, "saturated-activation", "zero", "aten::tanh", None),
    (SaturatedMethod, "saturated-activation", "told", "aten::sigmoid", None),
    (HardSaturated, "saturated-activation", "zero", "aten::hardtanh", None),
    (OneHot, "saturated-softmax", "told", "aten::softmax", None),
    (Constant, "degenerate-normalization", "zero", "aten::layer_norm", None),
    (Overwritten, "overwritten-value", "zero", None, None),
    (Logarithm, "non-finite-forward", "non-finite", "aten::log", None),
    (Root, "non-finite-backward", "non-finite", "aten::sqrt", None),
    (Overflowing, "non-finite-forward", "non-finite", "aten::exp", None),
    (Dropped, "excessive-dropout", "told", "aten::dropout", None),
    (OverTheBatch, "softmax-dimension", "told", "aten::softmax", None),
    (Forgotten, "unused-parameter", "told", None, None),
    (Spoiled, "non-finite-parameter", "non-finite", None, "mid.fc.weight"),
    (Stale, "shadowed-parameter", "none", None, "mid.fc.weight"),
    (Dead, "zero-weights", "zero", None, None),
    (Alike, "symmetric-weights", "told", None, None),
    (Collapsed, "linear-collapse", "told", None, None),
    (UpsideDown, "sample-leak", "told", None, None),
)


def build(base: str, mid: type[nn.Module]) -> Built:
    body, inputs = BASES[base]
    return Built(Base(body(), mid()), (inputs(),), classes(CLASSES, ROWS), "cross_entropy", suffers=("mid.fc.weight",))


def register(
    name: str,
    make: Callable[[], Built],
    expected: Expected | None,
    fault: Fault | None,
    forms: tuple[Form, ...] = FORMS,
) -> None:
    make.__module__ = __name__  # its family
    CASES.extend(Case(f"{name}[{form}]", form, make, expected, fault) for form in forms)


def planted() -> None:
    for base in BASES:
        register(f"fine_in_{base}", partial(build, base, Fine), None, None)
        for mid, code, fault, op, parameter in MIDS:
            path = None if parameter else ("mid", "mid.fc", "mid.out", "mid.norm")
            expected = Expected(code, op=op, module=path, parameter=parameter)
            forms = FORMS[:1] if mid is Watched else FORMS  # a trace knows nothing of no_grad
            register(f"{mid.__name__.lower()}_in_{base}", partial(build, base, mid), expected, fault, forms)


planted()

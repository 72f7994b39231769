"""Faults planted in whole architectures, that rules were not made with."""

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


class Residual(nn.Module):
    """A residual block."""

    def __init__(self, width: int, *, dead: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        if dead:
            nn.init.constant_(self.bn1.bias, -25.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x + h)


class SmallResNet(nn.Module):
    """A stem, three blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.blocks = nn.Sequential(Residual(12), Residual(12, dead=True), Residual(12))
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


@faulty(Expected("dead-relu", module="blocks.1"), "zero")
def branch_of_a_residual_block_is_dead() -> Built:
    return Built(
        SmallResNet(), (torch.randn(6, 3, 12, 12),), classes(4, 6), "cross_entropy", suffers=("blocks.1.conv1.weight",)
    )


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


class Vae(nn.Module):
    """Samples its code through a distribution without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(12, 24)
        self.mean = nn.Linear(24, 4)
        self.spread = nn.Linear(24, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.encoder(x))
        code = torch.normal(self.mean(h), F.softplus(self.spread(h)))
        return F.mse_loss(self.decoder(code), x)


@faulty(Expected("zero-derivative-op", op="aten::normal"), "zero")
def vae_that_samples_without_reparametrisation() -> Built:
    return Built(Vae(), (torch.randn(24, 12),), None, "model", suffers=("encoder.weight", "mean.weight"))


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


class Graph(nn.Module):
    """Messages along edges; the degree of a lonely node is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.message = nn.Linear(6, 16)
        self.update = nn.Linear(22, 3)

    def forward(self, nodes: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        sums = torch.zeros(nodes.size(0), 16).index_add(0, target, torch.relu(self.message(nodes))[source])
        degree = torch.zeros(nodes.size(0)).index_add(0, target, torch.ones(source.size(0)))
        return self.update(torch.cat([nodes, sums / degree.unsqueeze(1)], 1))


@faulty(Expected("non-finite-forward", op="aten::div"), "non-finite")
def mean_of_no_messages() -> Built:
    source, target = torch.randint(12, (30,)), torch.randint(11, (30,))
    return Built(
        Graph(), (torch.randn(12, 6), source, target), classes(3, 12), "cross_entropy", suffers=("update.weight",)
    )


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


class Lora(nn.Module):
    """Both factors start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(18, 18)
        self.down = nn.Parameter(torch.zeros(18, 4))
        self.up = nn.Parameter(torch.zeros(4, 18))
        self.head = nn.Linear(18, 3)
        for each in (*self.base.parameters(), *self.head.parameters()):
            each.requires_grad = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.base(x) + x @ self.down @ self.up))


@faulty(Expected("zero-weights", parameter=("down", "up")), "zero")
def adapter_of_two_zeros() -> Built:
    return Built(Lora(), (torch.randn(16, 18),), classes(3, 16), "cross_entropy", suffers=("down", "up"))


class MultiTask(nn.Module):
    """A schedule has set the second task's weight to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind = nn.Linear(32, 4)
        self.size = nn.Linear(32, 1)
        self.register_buffer("weights", torch.tensor([1.0, 0.0]))

    def forward(self, x: torch.Tensor, kind: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        h = self.trunk(x)
        losses = torch.stack([F.cross_entropy(self.kind(h), kind), F.mse_loss(self.size(h).squeeze(1), size)])
        return (losses * self.weights).sum()


@faulty(Expected("zero-multiplier", op="aten::mul"), "zero")
def second_task_has_no_weight() -> Built:
    inputs = (torch.randn(20, 10), classes(4, 20), torch.randn(20))
    return Built(MultiTask(), inputs, None, "model", suffers=("size.weight", "size.bias"))


class Denoiser(nn.Module):
    """Predicts noise; the signal's share is the square root of a number that reaches below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(9, 32), nn.SiLU(), nn.Linear(32, 8))

    def forward(self, x: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        kept = 1.0 - 1.05 * t
        noisy = torch.sqrt(kept) * x + torch.sqrt(1 - kept) * noise
        return F.mse_loss(self.net(torch.cat([noisy, t], 1)), noise)


@faulty(Expected("non-finite-forward", op="aten::sqrt", line="torch.sqrt(kept)"), "non-finite")
def noise_schedule_below_zero() -> Built:
    t = torch.linspace(0.0, 1.0, 20).unsqueeze(1)
    inputs = (torch.randn(20, 8), torch.randn(20, 8), t)
    return Built(Denoiser(), inputs, None, "model", suffers=("net.0.weight",))


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


class UNet(nn.Module):
    """The skip writes over what came up from below."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.relu(self.down(x))
        low = F.leaky_relu(self.deep(F.avg_pool2d(skip, 2)), 0.1)
        joined = F.interpolate(low, scale_factor=2.0)
        joined = joined.clone()
        joined.copy_(skip)
        return self.out(joined)


@faulty(Expected("overwritten-value", op="aten::copy_"), "told")
def skip_copied_over_the_deep_path() -> Built:
    x = torch.randn(4, 1, 12, 12)
    return Built(UNet(), (x,), torch.tanh(x), "mse_loss")


class Temporal(nn.Module):
    """A TCN of plain tanh layers, sixty deep, with weights half as large as they should be."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv1d(12, 12, 3, padding=1) for _ in range(40)])
        self.head = nn.Linear(12, 3)
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x.mean(2))


@faulty(Expected("poor-initialization"), "tiny")
def deep_convolutions_with_small_weights() -> Built:
    return Built(Temporal(), (torch.randn(8, 12, 20),), classes(3, 8), "cross_entropy", suffers=("layers.0.weight",))


class Spectrum(nn.Module):
    """Takes the angle of a spectrum in which a bin is empty."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Linear(16, 16, bias=False)
        self.head = nn.Linear(9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(self.filters(x))
        return self.head(torch.sqrt(spectrum.real**2 + spectrum.imag**2))


@faulty(Expected("non-finite-backward", op="aten::sqrt"), "non-finite")
def magnitude_of_a_silent_frame() -> Built:
    x = torch.randn(10, 16)
    x[6] = 0
    return Built(Spectrum(), (x,), classes(3, 10), "cross_entropy", suffers=("filters.weight",))


class Capsule(nn.Module):
    """Squashes with a power that is singular at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.caps = nn.Linear(8, 24, bias=False)
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.caps(x).view(x.size(0), 6, 4)
        squared = (u**2).sum(-1, keepdim=True)
        return self.head((squared**0.5 / (1 + squared) * u).flatten(1))


@faulty(Expected("non-finite-backward", op="aten::pow", line="squared**0.5"), "non-finite")
def capsules_of_an_empty_sample() -> Built:
    x = torch.randn(9, 8)
    x[2] = 0
    return Built(Capsule(), (x,), classes(4, 9), "cross_entropy", suffers=("caps.weight",))


class Bilinear(nn.Module):
    """A two-stream model whose streams meet in a product, one of them masked for the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(14, 28), nn.ReLU())
        self.text = nn.Sequential(nn.Linear(9, 28), nn.ReLU())
        self.head = nn.Linear(28, 2)

    def forward(self, image: torch.Tensor, text: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        image = self.image(image)
        return self.head(image + self.text(text) * present)


@faulty(Expected("zero-multiplier", op="aten::mul"), "zero")
def text_is_present_nowhere() -> Built:
    inputs = (torch.randn(12, 14), torch.randn(12, 9), torch.zeros(12, 1))
    return Built(Bilinear(), inputs, classes(2, 12), "cross_entropy", suffers=("text.0.weight", "text.0.bias"))


class ListNet(nn.Module):
    """A listwise ranking: softmax over the queries where it should be over the documents."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, documents: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.score(documents).squeeze(-1), dim=0)


@faulty(Expected("softmax-dimension", op="aten::log_softmax"), "told")
def listwise_scores_over_queries() -> Built:
    target = torch.softmax(torch.randn(10, 7), 1)
    return Built(ListNet(), (torch.randn(10, 7, 6),), target, "kl_div", options={})


class Frozen(nn.Module):
    """BatchNorm statistics of other data, in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 3)
        self.bn.running_mean.fill_(40.0)
        self.bn.running_var.fill_(1e-3)
        self.bn.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.bn(self.conv(x))).mean((2, 3)))


@faulty(Expected("frozen-normalization", module="bn"), "told")
def batch_norm_with_foreign_statistics() -> Built:
    return Built(Frozen(), (torch.randn(8, 3, 10, 10),), classes(3, 8), "cross_entropy")


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


class Half(nn.Module):
    """A tiny loss weight in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(20, 40).half()
        self.b = nn.Linear(40, 3).half()

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logits = self.b(torch.relu(self.a(x.half())))
        return F.cross_entropy(logits * 1e-1, y) * 1e-5


@faulty(Expected("gradient-underflow"), "told")
def half_precision_without_a_loss_scale() -> Built:
    return Built(Half(), (torch.randn(32, 20), classes(3, 32)), None, "model")


class Pairwise(nn.Module):
    """Two shapes that only broadcasting makes fit."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        error = self.net(x) - y
        return error.abs().mean()


@faulty(Expected("shape-broadcast"), "told")
def absolute_error_of_all_pairs() -> Built:
    return Built(Pairwise(), (torch.randn(16, 8), torch.randn(16)), None, "model")


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

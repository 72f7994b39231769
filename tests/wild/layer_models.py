"""Perceivers, conformers, temporal convolutions, layers of einops, and graph networks of torch-geometric."""

from __future__ import annotations

from typing import TYPE_CHECKING

import conformer
import perceiver_pytorch
import pytorch_tcn
import torch
from einops.layers.torch import EinMix, Rearrange, Reduce
from torch import nn
from torch_geometric import nn as graphs

from wild.architecture import classifier, noise, projected

if TYPE_CHECKING:
    from collections.abc import Callable


classifier(
    "perceiver",
    lambda: perceiver_pytorch.Perceiver(
        num_freq_bands=2, depth=2, max_freq=4.0, num_latents=8, latent_dim=32, latent_heads=2, num_classes=5
    ),
    noise(4, 16, 16, 3),
    form="trace",
)
classifier(
    "perceiver_io",
    lambda: nn.Sequential(
        perceiver_pytorch.PerceiverIO(depth=1, dim=24, queries_dim=24, num_latents=8, latent_dim=32, latent_heads=2),
        nn.Flatten(),
        nn.Linear(256, 5),
    ),
    noise(4, 16, 24),
    form="trace",
)
projected(
    "conformer_block",
    lambda: conformer.ConformerBlock(dim=32, dim_head=8, heads=4, ff_mult=2, conv_kernel_size=7),
    noise(2, 24, 32),
    form="trace",
)
projected(
    "conformer",
    lambda: conformer.Conformer(dim=32, depth=2, dim_head=8, heads=4, ff_mult=2, conv_kernel_size=7),
    noise(2, 24, 32),
    form="trace",
)
projected("tcn", lambda: pytorch_tcn.TCN(8, [16, 16, 16]), noise(4, 8, 32), form="trace")
projected(
    "tcn_gated",
    lambda: pytorch_tcn.TCN(8, [16, 16], use_gate=True, use_skip_connections=True),
    noise(4, 8, 32),
    form="trace",
)


def einops_patches() -> nn.Module:
    return nn.Sequential(
        Rearrange("b c (h i) (w j) -> b (h w) (c i j)", i=8, j=8),
        nn.Linear(192, 32),
        nn.GELU(),
        EinMix("b t c -> b t d", weight_shape="c d", bias_shape="d", c=32, d=32),
        Reduce("b t d -> b d", "mean"),
        nn.Linear(32, 5),
    )


def einops_convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.ReLU(), Reduce("b c (h 2) (w 2) -> b c h w", "max"), nn.Conv2d(16, 8, 3, padding=1),
        nn.ReLU(), Rearrange("b c h w -> b (c h w)"), nn.Linear(1800, 5),
    )  # fmt: skip


classifier("einops_patches", einops_patches, noise(4, 3, 32, 32))
classifier("einops_convolutions", einops_convolutions, noise(4, 3, 32, 32))


class Graph(nn.Module):
    """Scores of the nodes of one graph, by two layers of torch-geometric."""

    def __init__(self, layer: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        self.first = layer(16, 16)
        self.second = layer(16, 5)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.first(x, edges).relu()
        scores: torch.Tensor = self.second(hidden, edges)
        return scores


def graph(name: str, layer: Callable[[int, int], nn.Module]) -> None:
    classifier(
        f"graph_{name}",
        lambda: Graph(layer),
        noise(20, 16),
        lambda: torch.randint(20, (2, 60)),
        form="trace",
    )


graph("gcn", graphs.GCNConv)
graph("gat", graphs.GATConv)
graph("gatv2", graphs.GATv2Conv)
graph("sage", graphs.SAGEConv)
graph("graph", graphs.GraphConv)
graph("transformer", graphs.TransformerConv)
graph("tag", graphs.TAGConv)
graph("sg", graphs.SGConv)
graph("chebyshev", lambda i, o: graphs.ChebConv(i, o, 3))
graph("gin", lambda i, o: graphs.GINConv(nn.Sequential(nn.Linear(i, o), nn.ReLU(), nn.Linear(o, o))))

"""How the model reads its inputs: which layer meets an input first, and whether it is a feature at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import plain
from gradclinic_engine.reading.loss_reading import HANDING_ON

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

_JOINING = frozenset({"aten::cat", "aten::concat", "aten::concatenate", "aten::stack"})
_SCALING = frozenset(
    f"aten::{name}" for name in ("mul", "div", "true_divide", "add", "sub", "rsub", "neg", "log", "log1p")
)
LAYERS = frozenset(
    f"aten::{name}"
    for name in (
        *("linear", "addmm", "matmul", "mm", "bmm", "conv1d", "conv2d", "conv3d", "_convolution", "convolution"),
        *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "bilinear", "einsum"),
    )
)
NORMALISING = frozenset(
    f"aten::{name}"
    for name in ("batch_norm", "layer_norm", "group_norm", "instance_norm", "native_batch_norm", "rms_norm", "rmsnorm")
)


def raw_readers(paths: Paths, name: str) -> list[Site]:
    """The layers with parameters that meet an input as it was sent, at most in another shape or beside others."""
    return [site for site in _readers(paths, name, HANDING_ON | _JOINING) if plain(site.op) in LAYERS]


def is_feature(paths: Paths, name: str) -> bool:
    """Whether layers read an input, also scaled: not a mask, a weight or a position that only meets other values."""
    found = _readers(paths, name, HANDING_ON | _JOINING | _SCALING)
    return any(site.parameters and (plain(site.op) in LAYERS or plain(site.op) in NORMALISING) for site in found)


def _readers(paths: Paths, name: str, through: frozenset[str]) -> list[Site]:
    """The first operations that do more with an input than hand it on."""
    waiting = [site for site in paths.sites.values() if name in site.inputs]
    found: dict[int, Site] = {}
    seen: set[int] = set()
    while waiting:
        site = waiting.pop()
        if site.index in seen:
            continue
        seen.add(site.index)
        if plain(site.op) in through and not site.parameters and not _meets_learnt(site):
            waiting.extend(paths.readers(site))
        else:
            found[site.index] = site
    return [found[index] for index in sorted(found)]


def _meets_learnt(site: Site) -> bool:
    """Whether a product or sum also takes in what the model has computed: then the input is a mask or a residual."""
    return plain(site.op) in _SCALING and bool(site.reached_by)


def next_steps(paths: Paths, site: Site, through: Iterable[str] = ()) -> list[Site]:
    """What is done next with a value, looking through operations that hand it on."""
    passing = HANDING_ON | frozenset(through)
    found: list[Site] = []
    waiting = list(paths.readers(site))
    seen: set[int] = set()
    while waiting:
        reader = waiting.pop()
        if reader.index not in seen:
            seen.add(reader.index)
            if plain(reader.op) in passing:
                waiting.extend(paths.readers(reader))
            else:
                found.append(reader)
    return found

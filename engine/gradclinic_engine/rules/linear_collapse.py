"""Two layers follow one another with nothing nonlinear between them: together they are one layer.

## What it means
A linear layer of a linear layer is a linear layer: W2 (W1 x) = (W2 W1) x. The second one adds parameters, memory and
time, but nothing that the first could not do alone.

## Why it happens
- an activation was forgotten, or is called and its result thrown away (`F.relu(x)` alone on a line);
- a layer was added at the end without the activation in front of it.

## How it is measured
Over the program: a linear layer or convolution whose only input is the output of another one, with nothing but
reshapes, dropout, constant factors and biases between. Not where the width between them is smaller than both sides
(low rank, bottlenecks, LoRA), where a weight is frozen, or in factorised convolutions (depthwise; 3x1 and 1x3): those
are meant. WARNING when more than half of all places where one layer follows another are of this kind, so that the
network is linear for the most part and no target that needs more can be learned; else INFO.

## Example
    nn.Sequential(nn.Linear(12, 64), nn.Linear(64, 64), nn.Linear(64, 4))

## What to do
Put an activation between them (ReLU, GELU), or merge them into one layer.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.convergence import has_converged
from gradclinic_engine.reading.linear_chains import Layer, chained, layers
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

MOST = 0.5


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each chain, at its second layer."""
    measurements = paths.measurements
    known = layers(paths)
    pairs = {}
    for layer in known.values():
        first = chained(paths, known, layer) if paths.reaches_loss(layer.site) else None
        if first and _both_learn(first, layer) and not _is_meant(first, layer):
            pairs[layer.site.index] = first
    weighted = {parameter.name for parameter in measurements.parameters if len(parameter.shape) > 1}
    following = [layer for layer in known.values() if _follows(layer, weighted)]
    share = len(pairs) / len(following) if following else 0.0
    for index, first in pairs.items():
        if first.site.index not in pairs:
            chain = _chain(pairs, known, first, known[index])
            is_lost = share > MOST and measurements.loss.kind != "random_projection" and not has_converged(measurements)
            yield _finding(chain, share, Severity.WARNING if is_lost else Severity.INFO)


def _follows(layer: Layer, weighted: set[str]) -> bool:
    """Whether its output depends on another weight than its own; looks no further than to the second."""
    return len(list(islice(filter(weighted.__contains__, layer.site.reached_by), 2))) > 1


def _both_learn(first: Layer, second: Layer) -> bool:
    """Whether both are there to learn, and nothing worse is the matter with them."""
    weights = (first.weight, second.weight)
    learning = all(weight.status is GradientStatus.FLOWING and weight.weight.rms for weight in weights)
    return learning and first.weight.name != second.weight.name


def _is_meant(first: Layer, second: Layer) -> bool:
    if any(layer.site.constants.get("groups", 1) != 1 for layer in (first, second)):
        return True
    factors = [{length > 1 for length in layer.kernel} for layer in (first, second)]
    is_factorised = all(len(factor) > 1 for factor in factors) and first.kernel != second.kernel
    return is_factorised or first.features < min(first.inputs, second.features)


def _chain(pairs: dict[int, Layer], known: dict[int, Layer], first: Layer, second: Layer) -> list[Layer]:
    chain = [first, second]
    while True:
        onward = next((i for i, before in pairs.items() if before.site.index == chain[-1].site.index), None)
        if onward is None:
            return chain
        chain.append(known[onward])


def _finding(chain: list[Layer], share: float, severity: Severity) -> Finding:
    names = [layer.weight.name.rpartition(".")[0] or layer.weight.name for layer in chain]
    location = Location.of(chain[1].site)
    return RULE.finding(
        severity,
        location,
        f"Between {listed(names)} there is nothing nonlinear: together they can do no more than one layer.",
        (
            "Put an activation between them: `torch.relu`, `F.gelu`.",
            "If one layer is enough, merge them; if low rank was meant, make the width between them smaller.",
        ),
        evidence=(
            Evidence("layers_in_a_row", len(chain), "layers", 1, text=", ".join(names)),
            Evidence("share_of_junctions", share, "1", MOST),
        ),
        affected=tuple(layer.weight.name for layer in chain),
        sites=tuple(layer.site.index for layer in chain[1:]),
    )


RULE = Rule("linear-collapse", Symptom.MODE, __doc__, check)

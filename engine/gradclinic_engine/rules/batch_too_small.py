"""A BatchNorm in training mode computes its statistics from one value per channel, or from hardly more.

## What it means
BatchNorm subtracts the batch's mean and divides by its deviation, channel by channel. From a single value nothing is
left but zero (torch raises where it can see it); from two only the sign is left, so that no gradient comes back; from
three the statistics are noise.

## Why it happens
- the last, incomplete batch of an epoch, or a batch of one because the model is large;
- BatchNorm1d (or a pooled 1x1 map, as in squeeze-and-excite or ASPP branches) has one value per sample and channel.

## How it is measured
The number of values per channel: samples times positions. One or two: CRITICAL, as the output does not depend on the
input there (two values a and b become -1 and 1 whatever they are). Three: WARNING; the deviation is then wrong by a
factor of two as often as not. Four: INFO. From five on nothing is said.

## Example
    nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12))(torch.randn(1, 6))   # one value per channel

## What to do
`drop_last=True` in the DataLoader, a larger batch, or GroupNorm or LayerNorm, which do not look at other samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.normalization import batch_norms, is_training, unfinished_batch_norm, values_per_channel
from gradclinic_engine.reading.raised_errors import Raised, recognise
from gradclinic_engine.records import Evidence, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths
    from gradclinic_engine.records import Finding

SEVERITIES = {1: Severity.CRITICAL, 2: Severity.CRITICAL, 3: Severity.WARNING, 4: Severity.INFO}
ENOUGH_VALUES = 5


def check(paths: Paths) -> Iterator[Finding]:
    """At most one finding, at the first of those with the fewest values: it is one batch."""
    measurements = paths.measurements
    if recognise(measurements) is Raised.BATCH_TOO_SMALL:
        site = unfinished_batch_norm(measurements)
        if site:
            yield _finding(site, 1, [site])
        return
    small = {s.index: values_per_channel(s) for s in batch_norms(measurements) if is_training(s)}
    found = [measurements.sites[index] for index, values in small.items() if values in SEVERITIES]
    if found:
        first = min(found, key=lambda site: small[site.index])
        yield _finding(first, small[first.index], found)


def _finding(site: Site, values: int, every: list[Site]) -> Finding:
    location = Location.of(site)
    left = {1: "nothing but zero is left", 2: "only a sign is left of them"}.get(values, "the statistics are noise")
    return RULE.finding(
        SEVERITIES[values],
        location,
        f"{location} normalises over {values} value{'s' if values > 1 else ''} per channel: {left}, "
        "and what is before it can hardly learn from such a batch.",
        (
            "Send larger batches, and leave out the incomplete last one: `DataLoader(..., drop_last=True)`.",
            "Use GroupNorm or LayerNorm there: they do not look at other samples.",
        ),
        evidence=(Evidence("values_per_channel", values, "values", ENOUGH_VALUES),),
        affected=tuple(dict.fromkeys(name for each in every for name in each.parameters)),
        sites=tuple(each.index for each in every),
    )


RULE = Rule("batch-too-small", Symptom.MODE, __doc__, check)

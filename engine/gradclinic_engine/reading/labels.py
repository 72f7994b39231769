"""What rules ask of targets: how many samples they label, and whether they are data at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.reading.loss_reading import output_of

if TYPE_CHECKING:
    from gradclinic_engine.measurements import LossTerm, Target
    from gradclinic_engine.reading.paths import Paths

JUDGE_NAMES = ("discriminator", "critic", "disc", "netd", "adversary", "judge")


def samples_of(target: Target) -> int:
    """How many samples a target has."""
    return target.shape[0] if target.shape else 1


def is_weighted(paths: Paths, called: LossTerm) -> bool:
    """Whether the loss got weights of classes or samples."""
    site = paths.sites.get(called.site)
    tensors = site.arguments[1 + len(called.targets) :] if site is not None else ()
    return any(tensors) or any(called.options.get(name) is not None for name in ("weight", "pos_weight"))


def is_adversarial(paths: Paths, called: LossTerm) -> bool:
    """Whether a discriminator gives the prediction, whose targets say what it is to be made to believe."""
    output = output_of(paths, called)
    if output is None:
        return False
    by_name = {parameter.name: parameter for parameter in paths.measurements.parameters}
    before = [paths.sites[index] for index in sorted(paths.upstream(output), reverse=True)]
    last = next((site.parameters for site in before if site.parameters), ())
    if last and not any(by_name[name].requires_grad for name in last if name in by_name):
        return any(parameter.requires_grad for parameter in by_name.values())
    words = {word for name in last for part in name.lower().split(".")[:-1] for word in (part, *part.split("_"))}
    return bool(words & set(JUDGE_NAMES))

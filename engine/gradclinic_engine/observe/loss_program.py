"""A loss module as a program of its own: run with probes, and put behind the model for the rules about the loss."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradclinic_engine.observe.observe_recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradclinic_engine.front_end import Loaded, Program
    from gradclinic_engine.measurements import Measurements, Site

# Names of the loss module's arguments in its program.
OUTPUT, TARGET = "output", "target"


class LossProgram:
    """A freshly loaded loss module.

    Attributes:
        program: Made at the first observed call; None before.
        recorder: What the latest observed call showed.
    """

    def __init__(self, module: Loaded) -> None:
        self.program: Program | None = None
        self.recorder: Recorder | None = None
        self.raises = module.raises
        self._module = module

    def __call__(self, *arguments: object, recorder: Recorder | None = None) -> object:
        """The loss of an output, or of an output and a target; observed where ``recorder`` observed the model."""
        if recorder is None or len(arguments) > 2:  # noqa: PLR2004  # output and target
            return self._module(*arguments)
        if self.program is None:
            self.program = self._module.prepare(dict(zip((OUTPUT, TARGET), arguments, strict=False)))
        self.recorder = Recorder(self.program, (), is_immediate=recorder.is_immediate)
        return self.program.run(arguments, self.recorder)


def behind(measurements: Measurements, sites: Iterable[Site], results: Iterable[int]) -> Measurements:
    """The model with its loss module's operations behind it, as if the loss were part of the model.

    Args:
        measurements: Of the model.
        sites: Of the loss module, with numbers of its own.
        results: Numbers of the sites that give the loss.
    """
    first = len(measurements.sites)
    outputs = measurements.loss.outputs
    after = 1 + max((site.first_call_order for site in measurements.sites), default=-1)
    moved: list[Site] = []
    known = {site.index: site.reached_by for site in measurements.sites}
    for site in sites:
        arguments = tuple(tuple(new for old in each for new in _moved(old, first, outputs)) for each in site.arguments)
        reads_output = any(old.partition(":")[2].partition(".")[0] == OUTPUT for old in _named(site))
        operands = (*(index + first for index in site.operands), *(outputs if reads_output else ()))
        known[site.index + first] = frozenset().union(*(known.get(index, frozenset()) for index in operands))
        moved.append(
            replace(
                site,
                index=site.index + first,
                in_loss=True,
                operands=operands,
                arguments=arguments,
                parameters=(),
                inputs=(),
                reached_by=known[site.index + first],
                first_call_order=site.first_call_order + after if site.calls else -1,
            )
        )
    loss = replace(measurements.loss, kind="model", outputs=tuple(index + first for index in results))
    return replace(measurements, sites=(*measurements.sites, *moved), loss=loss)


def _named(site: Site) -> list[str]:
    return [each for argument in site.arguments for each in argument if isinstance(each, str)] + [
        f"input:{name}" for name in site.inputs
    ]


def _moved(source: int | str, first: int, outputs: tuple[int, ...]) -> tuple[int | str, ...]:
    """What a loss module's argument holds, in terms of the model and its target."""
    if isinstance(source, int):
        return (source + first,)
    kind, _, name = source.partition(":")
    argument, _, part = name.partition(".")
    if kind != "input":
        return (f"loss:{name}",)
    return outputs if argument == OUTPUT else (f"target:{part or TARGET}",)


def mover(measurements: Measurements) -> Callable[[tuple[int | str, ...]], tuple[int | str, ...]]:
    """Tells where a loss function within the loss module got an argument from."""
    first, outputs = len(measurements.sites), measurements.loss.outputs
    return lambda given: tuple(new for old in given for new in _moved(old, first, outputs))

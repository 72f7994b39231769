"""Puts what a run saw and what is known of its program together: plain records without tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.sites import reaching
from gradclinic_engine.measurements import (
    Culprit,
    Gate,
    GradientStatus,
    Loss,
    LossTerm,
    Measurements,
    Parameter,
    Site,
    SourceLine,
    Statistics,
    Tensor,
)
from gradclinic_engine.observe import loss_program, statistics
from gradclinic_engine.observe.observe_recorder import Tally, call_rms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gradclinic_engine.front_end import Program
    from gradclinic_engine.graph.sites import Sources, StaticSite
    from gradclinic_engine.observe.observe_recorder import Recorder
    from gradclinic_engine.observe.observe_run import Run, Subject
    from gradclinic_engine.observe.statistics import Gauge


def lasting_tensors(subject: Subject) -> dict[int, torch.Tensor]:
    """Parameters, buffers and inputs by their atom, also those that forward does not read."""
    sources = subject.program.sources
    parameters = subject.program.parameters
    found: dict[int, torch.Tensor] = {sources.atom("parameter", name): each for name, each in parameters.items()}
    found |= {sources.atom("buffer", name): tensor for name, tensor in subject.program.buffers.items()}
    return found | {sources.atom("input", name): tensor for name, tensor in subject.inputs.items()}


def settle_gauges(run: Run) -> None:
    """Reads everything back that is still on a device, in one transfer."""
    statistics.settle(_gauges(run))


def _gauges(run: Run) -> list[Gauge]:
    tallies = run.recorder.tallies
    found = [*run.lasting.values(), *run.targets.values(), *run.gradients.values()]
    found += [gauge for tally in tallies for gauge in (tally.activation, tally.gradient) if gauge is not None]
    return found


def is_sick(run: Run) -> bool:
    """Whether anything that a site gave, or any gradient, was not finite."""
    return any(
        gauge is not None and gauge.nonfinite
        for tally in run.recorder.tallies
        for gauge in (tally.activation, tally.gradient)
    )


def first_to_fail(run: Run, limit: int) -> frozenset[int]:
    """The sites that made something non-finite out of finite operands, earliest first."""
    failed = [
        (tally.nonfinite_order, site)
        for site, tally in enumerate(run.recorder.tallies)
        if tally.nonfinite_order >= 0 and tally.operands_finite
    ]
    return frozenset(site for _, site in sorted(failed)[:limit])


def measurements(subject: Subject, run: Run) -> Measurements:
    """All that a run measured."""
    settle_gauges(run)
    gauges = _gauges(run)
    summaries = dict(zip(map(id, gauges), statistics.summarise(gauges), strict=True))
    program = subject.program
    to_loss = reaching(program.sites, run.outputs)
    sites = tuple(
        _site(known, run.recorder.tallies, summaries, program.sources, reaches_loss=known.index in to_loss)
        for known in program.sites
    )
    found = Measurements(
        sites=sites,
        parameters=_parameters(subject, run, summaries),
        buffers=_tensors("buffer", program.buffers, subject, run, summaries),
        inputs=_tensors("input", subject.inputs, subject, run, summaries),
        target=tuple(
            _tensor(name, tensor, summaries[id(run.targets[name])])
            for name, tensor in subject.criterion.targets.items()
        ),
        loss=Loss(
            kind=subject.criterion.kind,
            name=subject.criterion.name,
            options=dict(subject.criterion.options),
            value=run.loss,
            requires_grad=run.loss_requires_grad,
            outputs=run.outputs,
            error=run.raised.said if run.raised is not None else "",
            backward_error=run.backward_error,
        ),
        modules=program.modules,
        terms=tuple(_terms(subject, run)),
        unobserved=(*program.unobserved, *_unseen(sites, run.recorder.tallies)),
    )
    return replace(found, with_loss=_with_loss(subject, run, found))


def _with_loss(subject: Subject, run: Run, found: Measurements) -> Measurements | None:
    """The model with the operations of its loss module behind it, where that ran."""
    criterion = subject.criterion.program
    if criterion is None or criterion.program is None or criterion.recorder is None:
        return None
    program, recorder = criterion.program, criterion.recorder
    gauges = [each for tally in recorder.tallies for each in (tally.activation, tally.gradient) if each is not None]
    statistics.settle(gauges)
    summaries = dict(zip(map(id, gauges), statistics.summarise(gauges), strict=True))
    to_loss = reaching(program.sites, program.results)
    sites = [
        _site(known, recorder.tallies, summaries, program.sources, reaches_loss=known.index in to_loss)
        for known in program.sites
    ]
    moved = loss_program.mover(found)
    terms = [
        replace(
            term,
            site=term.site + len(found.sites),
            prediction=replace(term.prediction, given_by=moved(term.prediction.given_by)),
            targets=tuple(replace(each, given_by=moved(each.given_by)) for each in term.targets),
        )
        for term in _inner_terms(program, recorder, run)
    ]
    return replace(loss_program.behind(found, sites, program.results), terms=(*found.terms, *terms))


def _terms(subject: Subject, run: Run) -> Iterable[LossTerm]:
    """The loss functions that were called: those within the model in program order, then the request's own."""
    yield from _inner_terms(subject.program, run.recorder, run)
    if run.call is not None:
        error = run.raised.said if run.raised is not None else ""
        yield run.call.measure([run.outputs, *((f"target:{name}",) for name in run.call.targets)], error=error)


def _inner_terms(program: Program, recorder: Recorder, run: Run) -> Iterable[LossTerm]:
    """The loss functions that a program called."""
    calls = [(call, "") for _, call in sorted(recorder.loss_calls.items())]
    if recorder.loss_running is not None:
        calls.append((recorder.loss_running, run.raised.said if run.raised is not None else ""))
    for call, error in calls:
        atoms = program.sites[call.site].arguments
        given_by = [
            tuple(atom if atom >= 0 else program.sources.label(atom) for atom in each)
            for each in atoms[: 1 + len(call.targets)]
        ]
        yield call.measure(given_by, error=error)


def _site(
    known: StaticSite, tallies: list[Tally], summaries: dict[int, Statistics], sources: Sources, *, reaches_loss: bool
) -> Site:
    tally = tallies[known.index]
    activation = summaries.get(id(tally.activation)) if tally.activation is not None else None
    arrived = tally.gradient is not None and tally.gradient_order >= 0
    units = tally.alive.numel() if tally.alive is not None else None
    late = _ran_later(known, tally, tallies)
    named = [tuple(a if a >= 0 else sources.label(a) for a in atoms if a not in late) for atoms in known.arguments]
    return Site(
        index=known.index,
        op=known.op,
        module=known.module,
        source=known.source,
        operands=tuple(atom for atom in known.operands if atom not in late),
        parameters=known.parameters,
        buffers=known.buffers,
        inputs=known.inputs,
        reached_by=known.reached_by,
        constants=known.constants,
        output=known.output,
        arguments=tuple(named),
        calls=tally.calls,
        first_call_order=tally.first_call_order,
        shape=tuple(tally.shape),
        dtype=_name(tally.dtype) if tally.dtype is not None else "",
        is_view=tally.is_view,
        requires_grad=tally.requires_grad,
        grad_enabled=tally.grad_enabled,
        reaches_loss=reaches_loss,
        activation=activation,
        flat_share=_share(tally.flat, activation.element_count)
        if known.span is not None and activation is not None
        else None,
        dead_unit_share=_share(units - int(tally.alive.sum()), units) if tally.alive is not None and units else None,
        unit_count=units,
        softness=_softness(tally.softness),
        acts_as=known.acts_as,
        gates=_gates(known.op, tally.gates),
        nonfinite_order=tally.nonfinite_order,
        culprit=tally.culprit,
        operands_finite=tally.operands_finite,
        gradient=summaries[id(tally.gradient)] if arrived else None,
        gradient_order=tally.gradient_order,
        gradient_rms_by_call=call_rms(tally.gradient_by_call),
        gradient_culprit=tally.gradient_culprit,
    )


def _ran_later(known: StaticSite, tally: Tally, tallies: list[Tally]) -> frozenset[int]:
    """Operands that an operation in a loop reads from the second turn on, where there was only one turn."""
    if tally.calls != 1 or all(atom < known.index for atom in known.operands):
        return frozenset()
    return frozenset(atom for atom in known.operands if tallies[atom].first_call_order >= tally.first_call_order)


def _softness(seen: list[torch.Tensor]) -> float | None:
    total, rows = torch.stack(seen).sum(0).tolist() if seen else (0.0, 0.0)
    return total / rows if rows else None


def _gates(op: str, seen: list[torch.Tensor]) -> tuple[Gate, ...]:
    """Of each gate the layer and direction where most of it is flat."""
    if not seen:
        return ()
    flat, whole = torch.stack(seen).sum(0).unbind(-1)  # [places, gates]
    shares = (flat / whole.clamp(min=1)).amax(0).tolist()
    return tuple(Gate(name, share) for name, share in zip(ops.of(op).gates, shares, strict=True))


def _share(part: float | torch.Tensor, whole: float) -> float:
    return float(part) / whole if whole else 0.0


def _parameters(subject: Subject, run: Run, summaries: dict[int, Statistics]) -> tuple[Parameter, ...]:
    """In forward order of first use, unused ones last."""
    program = subject.program
    readers: dict[str, list[int]] = {}
    for site in program.sites:
        for name in site.parameters:
            readers.setdefault(name, []).append(site.index)
    aliases: dict[int, list[str]] = {}
    for name, parameter in program.parameter_names.items():
        aliases.setdefault(id(parameter), []).append(name)
    found = []
    for name, parameter in program.parameters.items():
        gauge = run.gradients.get(name)
        gradient = summaries[id(gauge)] if gauge is not None else None
        twin_rows, twin_columns = run.twins[name].tolist() if name in run.twins else (0.0, 0.0)
        found.append(
            Parameter(
                name=name,
                module=name.rpartition(".")[0],
                shape=tuple(parameter.shape),
                dtype=_name(parameter.dtype),
                requires_grad=parameter.requires_grad,
                status=_status(gradient, requires_grad=parameter.requires_grad),
                weight=summaries[id(run.lasting[program.sources.atom("parameter", name)])],
                gradient=gradient,
                read_by=tuple(readers.get(name, ())),
                aliases=tuple(alias for alias in aliases[id(parameter)] if alias != name),
                twin_rows=twin_rows,
                twin_columns=twin_columns,
            )
        )
    last = len(program.sites)
    return tuple(sorted(found, key=lambda each: each.read_by[0] if each.read_by else last))


def _status(gradient: Statistics | None, *, requires_grad: bool) -> GradientStatus:
    if not requires_grad:
        return GradientStatus.FROZEN
    if gradient is None:
        return GradientStatus.MISSING
    if gradient.nonfinite_count:
        return GradientStatus.NON_FINITE
    return GradientStatus.FLOWING if gradient.min or gradient.max else GradientStatus.ZERO


def _tensors(
    kind: str, named: Mapping[str, torch.Tensor], subject: Subject, run: Run, summaries: dict[int, Statistics]
) -> tuple[Tensor, ...]:
    atom = subject.program.sources.atom
    return tuple(_tensor(name, tensor, summaries[id(run.lasting[atom(kind, name)])]) for name, tensor in named.items())


def _tensor(name: str, tensor: torch.Tensor, summary: Statistics) -> Tensor:
    found = statistics.first_nonfinite(tensor) if summary.nonfinite_count and not tensor.is_complex() else None
    culprit = Culprit(*found) if found is not None else None
    return Tensor(name, tuple(tensor.shape), _name(tensor.dtype), summary, culprit)


def _unseen(sites: tuple[Site, ...], tallies: list[Tally]) -> Iterable[tuple[str, str]]:
    for site, tally in zip(sites, tallies, strict=True):
        if tally.unseen:
            yield f"{site.op} in `{site.module}`{_place(site.source)}", tally.unseen


def _place(source: SourceLine | None) -> str:
    return f" ({source.file}:{source.line})" if source is not None else ""


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

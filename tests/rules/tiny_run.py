"""Small measured runs written by hand, op by op: the healthy and sick cases of the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradclinic_engine.measurements import (
    GradientStatus,
    Loss,
    Measurements,
    Module,
    Parameter,
    Site,
    SourceLine,
    Statistics,
    Tensor,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_GRADIENT_OPS = ("aten::detach", "aten::item")
INTEGER_DTYPES = ("int64", "int32", "bool")
FLOWING_STATUS = {True: GradientStatus.FLOWING, False: GradientStatus.ZERO}


def statistics(rms: float = 1.0, *, count: int = 64, **known: Any) -> Statistics:
    """Plausible statistics of a tensor with this ``rms``; all zeros when it is 0."""
    base = Statistics(count, 0, 0 if rms else count, 0.0, rms, -2 * rms, 2 * rms)
    return replace(base, **known)


class TinyRun:
    """Builds the Measurements of a small program; operands are site indices or the name of an input."""

    def __init__(self, **inputs: Statistics) -> None:
        self._inputs = inputs or {"x": statistics()}
        self._sites: list[Site] = []
        self._parameters: dict[str, Parameter] = {}
        self._module_modes: dict[str, bool] = {}
        self._buffers: dict[str, Tensor] = {}

    def buffer(self, name: str, seen: Statistics | None = None, **known: Any) -> str:
        """Declares a buffer with these statistics."""
        self._buffers[name] = replace(Tensor(name, (8,), "float32", seen or statistics()), **known)
        return name

    def parameter(self, name: str, *, gradient: float = 1.0, trainable: bool = True, **known: Any) -> str:
        """Declares a parameter with this gradient RMS; its status follows from the program."""
        base = Parameter(
            name,
            name.rpartition(".")[0],
            (8, 8),
            "float32",
            trainable,
            FLOWING_STATUS[gradient > 0] if trainable else GradientStatus.FROZEN,
            statistics(1.0 + len(self._parameters) / 64),  # no two alike: equal weights mean a copied network
            statistics(gradient) if trainable else None,
            (),
        )
        self._parameters[name] = replace(base, **known)
        return name

    def op(
        self,
        op: str,
        *operands: int | str,
        module: str = "",
        weights: Sequence[str] = (),
        gradient: float = 1.0,
        **known: Any,
    ) -> int:
        """Appends an operation that reads ``operands`` and the parameters ``weights``; ``gradient`` is an RMS."""
        index = len(self._sites)
        read = tuple(operand for operand in operands if isinstance(operand, int))
        for name in weights:
            if name not in self._parameters:
                self.parameter(name, gradient=gradient)
        requires_grad = known.get("grad_enabled", True) and (
            any(self._sites[operand].requires_grad for operand in read)
            or any(self._parameters[name].requires_grad for name in weights)
        )
        requires_grad &= op not in NO_GRADIENT_OPS and known.get("dtype") not in INTEGER_DTYPES
        site = Site(
            index=index,
            op=op,
            module=module,
            source=SourceLine("model.py", 10 + index, f"line {10 + index}"),
            operands=read,
            parameters=tuple(weights),
            buffers=(),
            inputs=tuple(operand for operand in operands if isinstance(operand, str)),
            arguments=(
                *((f"input:{operand}" if isinstance(operand, str) else operand,) for operand in operands),
                *((f"parameter:{name}",) for name in weights),
            ),
            reached_by=frozenset(weights).union(*(self._sites[operand].reached_by for operand in read)),
            calls=1,
            first_call_order=index,
            shape=(8, 8),
            dtype="float32",
            requires_grad=requires_grad,
            activation=statistics(),
            gradient=statistics(gradient) if requires_grad else None,
        )
        self._sites.append(replace(site, **known))
        return index

    @classmethod
    def stack(cls, op: str, *, depth: int, gain: float) -> Measurements:
        """A stack of ``depth`` linear layers with activation ``op``; each pair multiplies the gradient by ``gain``."""
        run = cls()
        value: int | str = "x"
        for layer in range(depth):
            gradient = gain ** (depth - layer)
            module = f"body.{2 * layer}"
            value = run.op("aten::linear", value, module=module, weights=[f"{module}.weight"], gradient=gradient)
            value = run.op(op, value, module=f"body.{2 * layer + 1}", gradient=gradient / gain**0.5)
        return run.finish(run.op("aten::linear", value, module="head", weights=["head.weight"]))

    def amend(self, site: int, **known: Any) -> None:
        """Changes what was measured at a site."""
        self._sites[site] = replace(self._sites[site], **known)

    def evaluation_mode(self, *modules: str) -> None:
        """Puts modules into eval mode."""
        self._module_modes.update(dict.fromkeys(modules, False))

    def finish(self, *outputs: int, loss: float = 1.0, **known: Any) -> Measurements:
        """The measurements of the program whose loss reads ``outputs``."""
        reaching = self._closure(outputs, differentiable=False)
        flowing = self._closure(outputs, differentiable=True)
        sites = tuple(
            replace(
                site,
                reaches_loss=site.index in reaching,
                gradient=site.gradient if site.index in flowing else None,
            )
            for site in self._sites
        )
        parameters = []
        for parameter in self._parameters.values():
            read_by = tuple(site.index for site in sites if parameter.name in site.parameters)
            reached = flowing.intersection(read_by)
            if parameter.requires_grad and not reached:
                parameter = replace(parameter, status=GradientStatus.MISSING, gradient=None)  # noqa: PLW2901 - the name is its finished self
            parameters.append(replace(parameter, read_by=read_by))
        paths = {""} | {parameter.module for parameter in parameters} | {site.module for site in sites}
        modules = tuple(
            Module(
                path,
                "Module",
                self._module_modes.get(path, True),
                tuple(parameter.name for parameter in parameters if parameter.module == path),
            )
            for path in sorted(paths)
        )
        inputs = tuple(
            Tensor(name, (8, 8), "float32", seen) for name, seen in self._inputs.items() if isinstance(seen, Statistics)
        )
        requires_grad = any(sites[output].requires_grad for output in outputs)
        measured_loss = Loss("functional", "mse_loss", {}, loss, requires_grad, outputs)
        base = Measurements(sites, tuple(parameters), tuple(self._buffers.values()), inputs, (), measured_loss, modules)
        for key in [key for key in known if key.startswith("loss_")]:
            base = replace(base, loss=replace(base.loss, **{key.removeprefix("loss_"): known.pop(key)}))
        return replace(base, **known)

    def _closure(self, outputs: Sequence[int], *, differentiable: bool) -> set[int]:
        seen: set[int] = set()
        waiting = list(outputs)
        while waiting:
            site = self._sites[waiting.pop()]
            if site.index in seen or (differentiable and not site.requires_grad):
                continue
            seen.add(site.index)
            waiting.extend(site.operands)
        return seen

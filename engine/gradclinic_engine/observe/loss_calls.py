"""What loss functions were called with: kept while a run goes on, measured when it is over.

Nothing here waits for a device before the run is over. Of a large prediction
only small evenly strided parts are kept, so that memory stays as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.graph.loss_ops import DEFAULT_IGNORED_CLASS, ELEMENTWISE, OF_CLASSES
from gradclinic_engine.measurements import Culprit, LossTerm, Prediction, Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Of each tensor at most about this many elements are kept.
KEPT_ELEMENTS = 65_536
# Sums of probabilities may be off by this much: logarithms of clamped ones, and numbers of 16 bits, by more.
SUM_TOLERANCE, LOOSE_SUM_TOLERANCE = 1e-3, 0.02
COUNTED_CLASSES = 16
LARGEST_COUNTED = 1_000_000
DECILES = 11
SAMPLED_FOR_DECILES = 1_024
# What torch stores, but knows no smallest and largest element of.
_UNSIGNED = {torch.uint16: torch.int32, torch.uint32: torch.int64, torch.uint64: torch.float64}


@dataclass(slots=True, eq=False)
class LossCall:
    """One call of a loss function.

    Attributes:
        name: In torch.nn.functional.
        site: The operator's site, -1 for the request's own loss.
        prediction: What it got, until it has returned.
        targets: By argument name.
    """

    name: str
    site: int
    options: Mapping[str, object]
    prediction: torch.Tensor | None
    targets: Mapping[str, torch.Tensor]
    weight: torch.Tensor | None = None
    error: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
    _parts: list[torch.Tensor] = field(default_factory=list)  # of the prediction
    _residual: torch.Tensor | None = None

    def has_returned(self) -> None:
        """The loss is computed: of a large prediction only parts are kept on."""
        self._look()
        self.prediction = None

    def _look(self) -> None:
        whole = self.prediction
        if whole is None or self.shape:
            return
        whole = whole.detach()
        self.shape, self.dtype = tuple(whole.shape), str(whole.dtype).removeprefix("torch.")
        if whole.is_complex() or whole.layout is not torch.strided or not whole.numel():
            return
        thinned = [dimension for dimension in range(whole.dim()) if dimension != 1 or whole.dim() == 1]
        # Along each dimension one part must be whole, for the sums; small tensors are kept as they are.
        self._parts = [_thin(whole, thinned)]
        if whole.numel() > KEPT_ELEMENTS:
            self._parts = [_thin(whole, [d for d in range(whole.dim()) if d != kept]) for kept in range(whole.dim())]
        target = next(iter(self.targets.values()), None)
        if self.name not in ELEMENTWISE or target is None or target.is_complex():
            return
        if target.shape == whole.shape:
            everywhere = range(whole.dim())
            self._residual = _thin(whole, everywhere).double() - _thin(target.detach(), everywhere).double()

    def measure(self, given_by: Sequence[tuple[int | str, ...]], *, error: str = "") -> LossTerm:
        """The finished record; waits for the device.

        Args:
            given_by: Of the prediction and of each target.
            error: What the loss raised.
        """
        self._look()
        prediction, *targets = given_by
        of_classes = self.name in OF_CLASSES
        ignored = self.options.get("ignore_index", DEFAULT_IGNORED_CLASS) if of_classes else None
        return LossTerm(
            name=self.name,
            site=self.site,
            options=dict(self.options),
            prediction=self._prediction(prediction),
            targets=tuple(
                _target(name, tensor.detach(), source, ignored if isinstance(ignored, int) else None)
                for (name, tensor), source in zip(self.targets.items(), targets, strict=True)
            ),
            residual_rms=_rms(self._residual) if self._residual is not None else None,
            weight_is_zero=self.weight is not None and not bool(self.weight.count_nonzero()),
            error=error or self.error,
        )

    def _prediction(self, given_by: tuple[int | str, ...]) -> Prediction:
        parts = [part.double() for part in self._parts]
        finite = [part[part.isfinite()] for part in parts]
        finite = [part for part in finite if part.numel()]
        return Prediction(
            given_by,
            self.shape,
            self.dtype,
            min=min((float(part.min()) for part in finite), default=math.nan),
            max=max((float(part.max()) for part in finite), default=math.nan),
            nonfinite=sum(int((~part.isfinite()).sum()) for part in parts),
            probability_dims=self._normalised(parts, exponential=False),
            log_probability_dims=self._normalised(parts, exponential=True),
        )

    def _normalised(self, parts: list[torch.Tensor], *, exponential: bool) -> tuple[int, ...]:
        """Dimensions of more than one element along which it sums to one everywhere."""
        found = []
        is_loose = exponential or "16" in self.dtype
        tolerance = LOOSE_SUM_TOLERANCE if is_loose else SUM_TOLERANCE
        numbers = [part.exp() for part in parts] if exponential else parts
        for dimension, length in enumerate(self.shape):
            part = numbers[min(dimension, len(numbers) - 1)] if numbers else None
            if part is None or length < 2 or (not exponential and bool((part < 0).any())):  # noqa: PLR2004  # one element sums to itself
                continue
            sums = part.sum(dimension)
            if bool(((sums - 1).abs() <= tolerance).all()):
                found.append(dimension)
        return tuple(found)


def _thin(tensor: torch.Tensor, dimensions: Sequence[int]) -> torch.Tensor:
    """An evenly strided copy with at most about KEPT_ELEMENTS elements, thinned along these dimensions only."""
    for dimension in dimensions:
        excess = -(-tensor.numel() // KEPT_ELEMENTS)
        length = tensor.shape[dimension]
        if excess > 1 and length > 1:
            step = min(excess, max(1, length // 2))
            tensor = tensor[(slice(None),) * dimension + (slice(None, None, step),)]
    return tensor.clone()


def _rms(tensor: torch.Tensor) -> float:
    return float(tensor.square().mean().sqrt()) if tensor.numel() else 0.0


def _target(name: str, tensor: torch.Tensor, given_by: tuple[int | str, ...], ignored: int | None) -> Target:
    shape, dtype = tuple(tensor.shape), _dtype(tensor)
    if tensor.is_complex() or not tensor.numel():
        return Target(name, given_by, shape, dtype, math.nan, math.nan)
    is_floating = tensor.is_floating_point()
    whole = _comparable(tensor)
    kept = whole.reshape(-1)
    # A number that the dtype does not hold is in no element; torch would compare with what is left of it.
    if ignored is not None and not is_floating and _holds(whole.dtype, ignored):
        kept = kept[kept != ignored]
    finite = kept[kept.isfinite()] if is_floating else kept
    lowest, highest = (_extreme(whole, finite, largest=largest) for largest in (False, True))
    return Target(
        name,
        given_by,
        shape,
        dtype,
        min=lowest.value if lowest else math.nan,
        max=highest.value if highest else math.nan,
        nonfinite=kept.numel() - finite.numel(),
        ignored=whole.numel() - kept.numel(),
        counts=_counts(finite),
        deciles=_deciles(finite),
        samples_alike=whole.dim() > 0 and whole.shape[0] > 1 and bool((whole == whole[:1]).all()),
        lowest=lowest,
        highest=highest,
    )


def _comparable(tensor: torch.Tensor) -> torch.Tensor:
    """The same numbers in a dtype of which torch finds the smallest and the largest."""
    if tensor.dtype is torch.bool:
        return tensor.to(torch.uint8)
    if tensor.dtype in _UNSIGNED:
        return tensor.to(_UNSIGNED[tensor.dtype])
    return tensor.float() if tensor.is_floating_point() and tensor.itemsize == 1 else tensor


def _holds(dtype: torch.dtype, number: int) -> bool:
    return dtype.is_floating_point or torch.iinfo(dtype).min <= number <= torch.iinfo(dtype).max


def _extreme(tensor: torch.Tensor, among: torch.Tensor, *, largest: bool) -> Culprit | None:
    """The first smallest or largest element, by its place in the whole tensor."""
    if not among.numel():
        return None
    value = among.max() if largest else among.min()
    position = int((tensor == value).reshape(-1).to(torch.uint8).argmax())
    return Culprit(tuple(int(i) for i in torch.unravel_index(torch.tensor(position), tensor.shape)), float(value))


def _counts(values: torch.Tensor) -> tuple[tuple[int, int], ...]:
    if not values.numel():
        return ()
    if values.is_floating_point():
        # Most floating targets show with their first elements that they are no labels.
        if bool((values[:SAMPLED_FOR_DECILES] % 1 != 0).any()) or bool((values.abs() > LARGEST_COUNTED).any()):
            return ()
        if bool((values % 1 != 0).any()):
            return ()
    whole = values.long()
    low = int(whole.min())
    if int(whole.max()) - low > LARGEST_COUNTED:
        return ()
    counts = torch.bincount(whole - low)
    most = torch.topk(counts, min(COUNTED_CLASSES, counts.numel()))
    pairs = zip((most.indices + low).tolist(), most.values.tolist(), strict=True)
    return tuple((int(value), int(count)) for value, count in pairs if count)


def _deciles(values: torch.Tensor) -> tuple[float, ...]:
    if not values.numel():
        return ()
    step = -(-values.numel() // SAMPLED_FOR_DECILES)
    shares = torch.linspace(0, 1, DECILES, dtype=torch.float64, device=values.device)
    return tuple(torch.quantile(values[::step].double(), shares).tolist())


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

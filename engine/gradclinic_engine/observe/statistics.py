"""Statistics of tensors: few passes, no memory of the tensor's size, no synchronisation while a device runs.

Everything is counted over all elements, except the histogram, and except zeros
in tensors over `EXACT_ZEROS_ELEMENTS` on a CPU: those are only counted when a
strided sample holds a zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch

from gradclinic_engine.measurements import MagnitudeHistogram, Statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

# A piece of this size stays in cache while three passes go over it. Smaller ones cost more in calls than they save.
CHUNK_ELEMENTS = 524_288
# On an accelerator pieces only bound the memory of intermediate values.
DEVICE_CHUNK_ELEMENTS = 16_777_216
EXACT_ZEROS_ELEMENTS = 16_384
SAMPLE_ELEMENTS = 1_024
# Squares of magnitudes within these bounds neither overflow nor vanish in float32, also when summed.
SAFE_LOWEST, SAFE_HIGHEST = 1e-15, 1e14

# What one tensor adds: count, non-finite, zeros, sum, sum of squares, min, max.
Row: TypeAlias = "tuple[float, float, float, float, float, float, float]"
EMPTY_ROW: Row = (0.0, 0.0, 0.0, 0.0, 0.0, math.inf, -math.inf)


@dataclass(slots=True, eq=False)
class Gauge:
    """Adds up the statistics of all tensors that pass one place.

    Attributes:
        samples: Strided samples of its elements, 1-D, one per tensor.
        offered: How many tensors could have been sampled.
        sample_step: Each of so many of them is.
        rows: On a device: what is not read back yet, each ``[7]``.
    """

    count: float = 0.0
    nonfinite: float = 0.0
    zeros: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    samples: list[torch.Tensor] = field(default_factory=list)
    offered: int = 0
    sample_step: int = 1
    rows: list[torch.Tensor] = field(default_factory=list)

    def add(self, row: Row) -> None:
        """Adds one tensor's row."""
        self.count += row[0]
        self.nonfinite += row[1]
        self.zeros += row[2]
        self.total += row[3]
        self.squares += row[4]
        self.low = min(self.low, row[5])
        self.high = max(self.high, row[6])

    def statistics(self, histogram: MagnitudeHistogram | None = None) -> Statistics:
        """What was added so far."""
        finite = self.count - self.nonfinite
        return Statistics(
            element_count=int(self.count),
            nonfinite_count=int(self.nonfinite),
            zero_count=int(self.zeros),
            mean=self.total / finite if finite else math.nan,
            rms=math.sqrt(self.squares / finite) if finite else math.nan,
            min=self.low if finite else math.nan,
            max=self.high if finite else math.nan,
            histogram=histogram,
        )


def measure(tensor: torch.Tensor, *, sample: list[torch.Tensor] | None = None) -> Row:
    """Statistics of a tensor, read back at once.

    Args:
        tensor: Of any shape, layout strided; integers and flags are taken as numbers, a complex number as two.
        sample: Gets a strided sample of the elements appended.
    """
    if tensor.is_cuda:
        return _row(measure_on_device(tensor, sample=sample).tolist())
    tensor = _real(tensor)
    count = tensor.numel()
    if not count:
        return EMPTY_ROW
    if count <= CHUNK_ELEMENTS and tensor.is_contiguous():
        return _measure_piece(tensor.detach().view(-1), count, sample)
    weight, parts = _pieces(tensor, CHUNK_ELEMENTS)
    nonfinite, zeros, total, squares, low, high = 0.0, 0.0, 0.0, 0.0, math.inf, -math.inf
    for piece in parts:
        row = _measure_piece(piece, count, sample)
        nonfinite += row[1]
        zeros += row[2]
        total += row[3]
        squares += row[4]
        low, high = min(low, row[5]), max(high, row[6])
    return (float(count), nonfinite * weight, zeros * weight, total * weight, squares * weight, low, high)


def measure_on_device(tensor: torch.Tensor, *, sample: list[torch.Tensor] | None = None) -> torch.Tensor:
    """The same without waiting for the device: a tensor ``[7]`` there, float64."""
    tensor = _real(tensor)
    if not tensor.numel():
        return torch.tensor(EMPTY_ROW, dtype=torch.float64, device=tensor.device)
    weight, pieces = _pieces(tensor, DEVICE_CHUNK_ELEMENTS)
    rows = []
    for piece in pieces:
        wide = piece if piece.dtype in (torch.float32, torch.float64) else piece.to(torch.float32)
        finite = torch.isfinite(wide)
        held = torch.where(finite, wide, 0.0)
        rows.append(
            torch.stack(
                [
                    finite.numel() - finite.sum(dtype=torch.float64),
                    wide.numel() - torch.count_nonzero(wide).double(),
                    held.sum(dtype=torch.float64),
                    torch.linalg.vector_norm(held, dtype=torch.float64) ** 2,
                    torch.where(finite, wide, math.inf).amin().double(),
                    torch.where(finite, wide, -math.inf).amax().double(),
                ]
            )
        )
        if sample is not None:
            sample.append(piece[:: _stride(piece.numel(), tensor.numel())].clone())
    table = torch.stack(rows)
    count = torch.full((1,), float(tensor.numel()), dtype=torch.float64, device=tensor.device)
    return torch.cat(
        [count, table[:, :4].sum(0) * weight, table[:, 4].amin().reshape(1), table[:, 5].amax().reshape(1)]
    )


def settle(gauges: list[Gauge]) -> None:
    """Reads back what gauges have left on a device, all in one transfer."""
    waiting = [(gauge, row) for gauge in gauges for row in gauge.rows]
    if not waiting:
        return
    for (gauge, _), numbers in zip(waiting, torch.stack([row for _, row in waiting]).tolist(), strict=True):
        gauge.add(_row(numbers))
    for gauge in gauges:
        gauge.rows.clear()


def summarise(gauges: list[Gauge]) -> list[Statistics]:
    """Statistics with histograms of many gauges, the histograms in one batch; their samples are dropped."""
    histograms = _histograms([gauge.samples for gauge in gauges])
    return [gauge.statistics(histogram) for gauge, histogram in zip(gauges, histograms, strict=True)]


def pieces(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """1-D pieces that together hold each element once, small enough that work on them needs little memory."""
    yield from _split(tensor.detach(), DEVICE_CHUNK_ELEMENTS if tensor.is_cuda else CHUNK_ELEMENTS)


def first_nonfinite(tensor: torch.Tensor) -> tuple[tuple[int, ...], float] | None:
    """Index and value of the first NaN or infinity, in row-major order; waits for the device."""
    wrong = ~torch.isfinite(tensor.detach())
    if not wrong.any():
        return None
    position = int(wrong.reshape(-1).to(torch.uint8).argmax().item())
    index = tuple(int(i) for i in torch.unravel_index(torch.tensor(position), tensor.shape)) if tensor.dim() else ()
    return index, float(tensor.detach()[index].item())


def _measure_piece(piece: torch.Tensor, whole: int, sample: list[torch.Tensor] | None) -> Row:
    """``piece``: 1-D, not empty, on the CPU, one of those that together have ``whole`` elements."""
    if piece.dtype is not torch.float32:
        piece = piece.to(torch.float32 if piece.dtype.is_floating_point and piece.itemsize <= 2 else torch.float64)  # noqa: PLR2004  # bytes of half precision
    count = piece.numel()
    extremes = torch.aminmax(piece)
    low, high = extremes.min.item(), extremes.max.item()
    # By now the piece is in the cache, where a strided look at it costs little.
    taken = piece[:: _stride(count, whole)].clone() if count > SAMPLE_ELEMENTS or sample is not None else piece
    if sample is not None:
        sample.append(taken)
    if not (math.isfinite(low) and math.isfinite(high)):
        return _measure_finite(piece)
    zeros = 0
    if low <= 0 <= high and (whole <= EXACT_ZEROS_ELEMENTS or _zeros_in(taken)):
        zeros = _zeros_in(piece)
    largest = max(-low, high)
    if not SAFE_LOWEST <= largest <= SAFE_HIGHEST and largest:
        return (count, 0.0, zeros, *_wide_moments(piece, largest), low, high)
    return (count, 0.0, zeros, piece.sum().item(), torch.dot(piece, piece).item(), low, high)


def _zeros_in(piece: torch.Tensor) -> int:
    # NumPy counts ten times as fast as torch on a CPU.
    return int(np.count_nonzero(piece.numpy() == 0))


def _measure_finite(piece: torch.Tensor) -> Row:
    """A piece with elements that are not finite: what its finite ones are."""
    count = float(piece.numel())
    kept = piece[torch.isfinite(piece)]
    if not kept.numel():
        return (count, count, 0.0, 0.0, 0.0, math.inf, -math.inf)
    row = _measure_piece(kept, 0, None)
    return (count, count - row[0], *row[2:])


def _wide_moments(piece: torch.Tensor, largest: float) -> tuple[float, float]:
    """Sum and sum of squares where squares would overflow or vanish."""
    if piece.dtype is torch.float32:  # float64 holds all of its squares
        wide = piece.double()
        return wide.sum().item(), torch.dot(wide, wide).item()
    scaled = piece / largest
    total, squares = scaled.sum().item() * largest, torch.dot(scaled, scaled).item()
    # Beyond float64's own range the sum of squares is the largest number there is.
    return total, min(squares * largest * largest, torch.finfo(torch.float64).max)


def _real(tensor: torch.Tensor) -> torch.Tensor:
    """Real and imaginary parts side by side."""
    return torch.view_as_real(tensor.detach().resolve_conj()) if tensor.is_complex() else tensor


def _pieces(tensor: torch.Tensor, size: int) -> tuple[int, Iterator[torch.Tensor]]:
    """1-D pieces that hold each element of a tensor, and how often each of them counts."""
    tensor = tensor.detach()
    weight = 1
    if not tensor.is_contiguous():
        # An expanded dimension holds the same elements over and over.
        for dimension, (length, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
            if stride == 0 and length > 1:
                tensor = tensor.narrow(dimension, 0, 1)
                weight *= length
    return weight, _split(tensor, size)


def _split(tensor: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    if tensor.is_contiguous():
        flat = tensor.view(-1)
    elif _is_dense(tensor):
        # Another order of dimensions: the same elements lie in one stretch of memory.
        flat = tensor.as_strided((tensor.numel(),), (1,))
    elif tensor.numel() > size and tensor.shape[0] > 1:
        half = tensor.shape[0] // 2
        yield from _split(tensor[:half], size)
        yield from _split(tensor[half:], size)
        return
    else:
        flat = tensor.reshape(-1)
    if flat.numel() <= size:
        yield flat
    else:
        yield from flat.split(size)


def _is_dense(tensor: torch.Tensor) -> bool:
    expected = 1
    for stride, length in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if length == 1:
            continue
        if stride != expected:
            return False
        expected *= length
    return True


def _stride(part: int, whole: int) -> int:
    """Step of a sample that takes about SAMPLE_ELEMENTS of the whole; odd, so that it meets all channels."""
    step = -(-whole // SAMPLE_ELEMENTS)
    return min(step | 1, max(1, part)) if step > 1 else 1


def _row(numbers: list[float]) -> Row:
    count, nonfinite, zeros, total, squares, low, high = numbers
    return (count, nonfinite, zeros, total, squares, low, high)


def _histograms(samples: list[list[torch.Tensor]]) -> list[MagnitudeHistogram | None]:
    """For each group of samples the counts by powers of two; None where no element is finite and not zero."""
    sizes = [sum(each.numel() for each in group) for group in samples]
    if not sum(sizes):
        return [None] * len(samples)
    # One tensor and one transfer for all of them; half precision has no NumPy type.
    joined = torch.cat([each for group in samples for each in group])
    values = joined.to(torch.float64 if joined.dtype is torch.float64 else torch.float32).cpu().numpy()
    for group in samples:
        group.clear()
    owners = np.repeat(np.arange(len(sizes)), sizes)
    counted = np.isfinite(values) & (values != 0)
    exponents = np.frexp(values[counted])[1] - 1  # x = m * 2**e with 0.5 <= m < 1
    if not len(exponents):
        return [None] * len(samples)
    lowest, width = int(exponents.min()), int(exponents.max() - exponents.min() + 1)
    cells = owners[counted] * width + (exponents - lowest)
    table = np.bincount(cells, minlength=len(sizes) * width).reshape(len(sizes), width)
    return _trim(table, lowest)


def _trim(table: npt.NDArray[np.int64], lowest: int) -> list[MagnitudeHistogram | None]:
    """Drops the empty buckets at both ends of each row."""
    filled: npt.NDArray[np.bool_] = table > 0
    firsts = filled.argmax(axis=1).tolist()
    ends = (filled.shape[1] - filled[:, ::-1].argmax(axis=1)).tolist()
    rows = zip(table.tolist(), firsts, ends, strict=True)
    return [
        MagnitudeHistogram(lowest + first, tuple(row[first:end])) if row[first] else None for row, first, end in rows
    ]

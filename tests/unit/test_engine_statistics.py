"""Statistics against the same numbers computed by NumPy in double precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradclinic_engine.measurements import MagnitudeHistogram
from gradclinic_engine.observe import statistics
from gradclinic_engine.observe.statistics import Gauge

DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
SPECIAL = (0.0, -0.0, math.nan, math.inf, -math.inf, 1e-40, 1e-30, -1e-38, 3e38, -3e38, 65504.0, 1.0)

numbers = st.one_of(st.floats(width=32), st.sampled_from(SPECIAL))
tensors = st.builds(
    lambda values, dtype: torch.tensor(values, dtype=torch.float32).to(dtype),
    st.lists(numbers, max_size=200),
    st.sampled_from(DTYPES),
)


def expected_row(tensor: torch.Tensor) -> tuple[float, ...]:
    values = tensor.double().numpy().reshape(-1)
    finite = values[np.isfinite(values)]
    return (
        float(values.size),
        float(values.size - finite.size),
        float((values == 0).sum()),
        float(finite.sum()),
        float((finite**2).sum()),
        float(finite.min()) if finite.size else math.inf,
        float(finite.max()) if finite.size else -math.inf,
    )


def check(found: tuple[float, ...], tensor: torch.Tensor) -> None:
    expected = expected_row(tensor)
    assert found[:3] == expected[:3]
    assert found[5:] == expected[5:]
    magnitude = float(np.nansum(np.abs(np.nan_to_num(tensor.double().numpy(), posinf=0.0, neginf=0.0))))
    assert found[3] == pytest.approx(expected[3], rel=1e-4, abs=1e-5 * magnitude)
    assert found[4] == pytest.approx(expected[4], rel=1e-4)


@given(tensors)
@settings(deadline=None)
def test_a_row_is_what_numpy_says(tensor: torch.Tensor) -> None:
    check(statistics.measure(tensor), tensor)


@given(tensors)
@settings(deadline=None)
def test_the_way_for_devices_says_the_same(tensor: torch.Tensor) -> None:
    row = statistics.measure_on_device(tensor).tolist()
    expected = expected_row(tensor)
    assert tuple(row[:3]) == expected[:3]
    assert tuple(row[5:]) == expected[5:]
    assert row[4] == pytest.approx(expected[4], rel=1e-5)


def drawn(*shape: int) -> torch.Tensor:
    """Random numbers of which none is exactly zero, so that the estimate of zeros in large tensors is exact."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).abs() + 1e-3


@pytest.mark.parametrize(
    "tensor",
    [
        drawn(700, 900),
        drawn(700, 900).t(),
        drawn(900, 701)[:, ::2],
        drawn(1, 9).expand(50_000, 9),
        drawn(8, 3, 40, 41).to(memory_format=torch.channels_last),
        torch.randint(-5, 5, (300, 300)),
        torch.rand(20, 20) > 0.5,
        torch.tensor(3.5),
        torch.empty(0, 4),
    ],
    ids=["large", "transposed", "strided", "expanded", "channels_last", "int", "bool", "scalar", "empty"],
)
def test_layouts(tensor: torch.Tensor) -> None:
    check(statistics.measure(tensor), tensor)


@pytest.mark.parametrize(("elements", "counted"), [(statistics.EXACT_ZEROS_ELEMENTS, 1.0), (1_000_000, 0.0)])
def test_a_single_zero_is_counted_for_certain_only_in_a_small_tensor(elements: int, counted: float) -> None:
    tensor = torch.ones(elements)
    tensor[1] = 0.0  # between the elements of the strided sample
    assert counted == statistics.measure(tensor)[2]
    assert 1.0 == statistics.measure_on_device(tensor)[2].item()


def test_zeros_of_a_large_rectified_tensor_are_counted_exactly() -> None:
    tensor = torch.relu(torch.randn(400, 1000))
    assert statistics.measure(tensor)[2] == float((tensor == 0).sum().item())


def test_rms_of_huge_and_of_tiny_numbers_neither_overflows_nor_vanishes() -> None:
    for magnitude in (1e30, 1e-30):
        gauge = Gauge()
        gauge.add(statistics.measure(torch.full((1000,), magnitude)))
        assert gauge.statistics().rms == pytest.approx(magnitude, rel=1e-6)


def test_rows_add_up() -> None:
    first, second = torch.randn(30), torch.randn(70)
    gauge = Gauge()
    gauge.add(statistics.measure(first))
    gauge.rows.append(statistics.measure_on_device(second))
    statistics.settle([gauge])
    whole = gauge.statistics()
    check(
        (
            whole.element_count,
            whole.nonfinite_count,
            whole.zero_count,
            gauge.total,
            gauge.squares,
            whole.min,
            whole.max,
        ),
        torch.cat([first, second]),
    )


def test_histogram_counts_by_powers_of_two() -> None:
    gauge = Gauge()
    gauge.add(statistics.measure(torch.tensor([0.25, 0.3, 1.0, 1.5, -1.9, 8.0, 0.0, math.nan]), sample=gauge.samples))
    empty = Gauge()
    found, nothing = statistics.summarise([gauge, empty])
    assert found.histogram == MagnitudeHistogram(-2, (2, 0, 3, 0, 0, 1))
    assert (nothing.histogram, nothing.element_count) == (None, 0)
    assert math.isnan(nothing.mean)


def test_the_first_nonfinite_element_is_found_in_row_major_order() -> None:
    tensor = torch.zeros(3, 4)
    tensor[1, 2], tensor[2, 0] = math.inf, math.nan
    assert statistics.first_nonfinite(tensor) == ((1, 2), math.inf)
    assert statistics.first_nonfinite(torch.zeros(3)) is None
    assert statistics.first_nonfinite(torch.tensor(math.inf)) == ((), math.inf)

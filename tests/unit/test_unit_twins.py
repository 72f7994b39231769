"""Copies among the units of a layer, and one-hot weights inside a fused attention, against plain definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from gradclinic_engine.observe.attention_softness import QUERIES_PER_SLICE, softness
from gradclinic_engine.observe.unit_twins import twin_shares, with_equal_weights


def test_only_parameters_with_equal_units_are_watched() -> None:
    torch.manual_seed(0)
    found = with_equal_weights(
        {
            "random": torch.randn(300, 20),
            "constant": torch.full((300, 20), 0.3),
            "one_pair": torch.cat([torch.randn(5, 7), torch.ones(2, 7)]),
            "columns": torch.randn(6, 1).expand(6, 9).contiguous(),
            "bias": torch.zeros(9),
            "empty": torch.zeros(0, 4),
            "conv": torch.zeros(8, 3, 3, 3),
        }
    )
    assert frozenset({"constant", "one_pair", "columns", "conv"}) == found


def test_twins_need_equal_weights_and_equal_gradients_that_are_not_zero() -> None:
    weight = torch.ones(4, 3)
    gradient = torch.tensor([[1.0, 2, 3], [1, 2, 3], [4, 5, 6], [0, 0, 0]])
    assert 0.5 == twin_shares(weight, gradient)[0]
    assert 0.0 == twin_shares(torch.randn(4, 3), gradient)[0]
    assert [0.0, 0.0] == twin_shares(weight, torch.zeros(4, 3)).tolist()


def test_columns_are_units_of_a_matrix_that_is_multiplied_from_the_right() -> None:
    torch.manual_seed(0)
    first = torch.full((5, 6), 0.2, requires_grad=True)
    second = torch.full((6, 3), 0.2, requires_grad=True)
    F.cross_entropy(torch.tanh(torch.randn(8, 5) @ first) @ second, torch.arange(8) % 3).backward()
    assert first.grad is not None
    assert second.grad is not None
    assert [0.0, 1.0] == twin_shares(first, first.grad).tolist()
    assert 1.0 == twin_shares(second, second.grad)[0]  # the six equal units that it reads


def test_random_weights_part_what_is_before_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    nn.init.constant_(model[0].weight, 0.2)  # type: ignore[arg-type]
    F.cross_entropy(model(torch.randn(8, 5)), torch.arange(8) % 3).backward()
    weight = model[0].weight
    assert isinstance(weight, torch.Tensor)
    assert weight.grad is not None
    assert 0.0 == twin_shares(weight, weight.grad)[0]


@pytest.mark.parametrize("masked", ["nothing", "causal", "bool", "float"])
@pytest.mark.parametrize("scale", [None, 3.0])
def test_softness_is_that_of_the_weights(masked: str, scale: float | None) -> None:
    torch.manual_seed(0)
    length = QUERIES_PER_SLICE - 3  # all are looked at
    query, key = torch.randn(2, 3, length, 8), torch.randn(2, 3, length, 8)
    allowed = torch.ones(length, length, dtype=torch.bool)
    if masked != "nothing":
        allowed = allowed.tril()
    mask = {"bool": allowed, "float": torch.zeros(length, length).masked_fill(~allowed, -1e9)}.get(masked)
    weights = (query @ key.transpose(2, 3) * (scale or 8**-0.5)).masked_fill(~allowed, float("-inf")).softmax(-1)
    rows = 1 - weights.square().sum(-1)[..., allowed.sum(1) > 1]
    found = softness(query, key, mask, is_causal=masked == "causal", scale=scale)
    assert found is not None
    total, count = found.tolist()
    assert rows.numel() == count
    assert pytest.approx(rows.sum().item(), rel=1e-4) == total


def test_fewer_heads_of_keys_are_shared() -> None:
    query, key = torch.randn(2, 4, 5, 8), torch.randn(2, 2, 5, 8)
    found = softness(query, key, None, is_causal=False, scale=None)
    again = softness(query, key.repeat_interleave(2, dim=1), None, is_causal=False, scale=None)
    assert found is not None
    assert again is not None
    assert found.tolist() == again.tolist()

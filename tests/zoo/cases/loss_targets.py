"""Targets that do not fit their loss: out of range, refused, spread out silently, constant, lopsided."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty
from zoo.cases.loss_bodies import Body, OwnMseLoss, Plain, Vector, x

# Out of range.


@faulty(Expected("target-out-of-range", name="target"), "raises")
def classes_counted_from_one() -> Built:
    return Built(nn.Sequential(Plain(), nn.LogSoftmax(1)), (x(),), classes(3, 36) + 1, "nll_loss")


@faulty(Expected("target-out-of-range", name="target"), "told")
def labels_of_both_signs_into_binary_cross_entropy() -> Built:
    return Built(Vector(), (x(),), classes(2, 36).float() * 2 - 1, "binary_cross_entropy_with_logits")


@faulty(Expected("target-out-of-range", name="target"), "told")
def zero_and_one_into_a_margin() -> Built:
    return Built(Vector(), (x(),), classes(2, 36).float(), "soft_margin_loss")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def void_pixels_without_ignore_index() -> Built:
    y = torch.randint(0, 5, (4, 8, 8))
    y[:, 0] = 255
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))
    return Built(model, (torch.randn(4, 3, 8, 8),), y, "cross_entropy")


class OwnClasses(Body):
    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.body(x), label)


@faulty(Expected("target-out-of-range", name="input:1"), "raises", "script")
def own_loss_with_a_padding_label() -> Built:
    y = classes(3, 36)
    y[5] = -1
    return Built(OwnClasses(), (x(), y), None, "model")


# Refused.


@faulty(Expected("target-mismatch", name="target"), "raises")
def column_of_classes() -> Built:
    return Built(Plain(), (x(),), classes(3, 36).unsqueeze(1), "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def classes_last_in_a_sequence() -> Built:
    return Built(Plain(), (torch.randn(6, 11, 7),), torch.randint(0, 3, (6, 11)), "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def vector_of_labels_for_a_column() -> Built:
    model = nn.Sequential(nn.Linear(7, 1))
    return Built(model, (x(),), classes(2, 36).float(), "binary_cross_entropy_with_logits")


@faulty(Expected("target-mismatch", name="target"), "raises")
def classes_in_thirty_two_bits() -> Built:
    return Built(Plain(), (x(),), classes(3, 36).int(), "cross_entropy")


@faulty(Expected("target-mismatch", name="input:1"), "raises", "script")
def own_loss_with_float_classes() -> Built:
    return Built(OwnClasses(), (x(), classes(3, 36).float()), None, "model")


# Spread out.


@faulty(Expected("shape-broadcast", name="loss"), "told")
def vector_against_column() -> Built:
    return Built(Vector(), (x(),), torch.randn(36, 1), "smooth_l1_loss")


class OwnSquares(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((y - self.body(x)) ** 2).mean()


@faulty(Expected("shape-broadcast", op="aten::sub", line="y - self.body(x)"), "told")
def own_squares_of_vector_and_column() -> Built:
    return Built(OwnSquares(), (x(), torch.randn(36)), None, "model")


@faulty(Expected("shape-broadcast", name="loss"), "told")
def own_mse_loss_of_vector_and_column() -> Built:
    return Built(OwnMseLoss(), (x(), torch.randn(36)), None, "model")


class SegmentationL1(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@faulty(Expected("shape-broadcast", name="loss"), "told")
def depth_maps_without_a_channel() -> Built:
    return Built(SegmentationL1(), (torch.randn(5, 2, 8, 8),), torch.rand(5, 8, 8), "l1_loss")


class WeightedLoss(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        error = (self.body(x) - y.unsqueeze(1)).abs()
        return (error * weight).mean()


@faulty(Expected("shape-broadcast", op="aten::mul", line="error * weight"), "told")
def sample_weights_spread_over_errors() -> Built:
    return Built(WeightedLoss(), (x(), torch.randn(36), torch.rand(36)), None, "model")


# Constant and lopsided.


@faulty(Expected("constant-target", name="target"), "told")
def every_pixel_is_background() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    y = torch.zeros(6, 8, 8, dtype=torch.int64)
    return Built(model, (torch.randn(6, 3, 8, 8),), y, "cross_entropy")


@faulty(Expected("constant-target", name="target"), "told")
def every_sample_has_the_same_vector() -> Built:
    return Built(Plain(), (x(),), torch.randn(1, 3).expand(36, 3).clone(), "l1_loss")


@faulty(Expected("constant-target", name="input:1"), "told")
def own_loss_of_positives_only() -> Built:
    return Built(OwnLogits(), (x(), torch.ones(36, 1)), None, "model")


class OwnLogits(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(self.body(x), y)


@faulty(Expected("class-imbalance", name="target"), "told")
def one_rare_class_of_four() -> Built:
    y = torch.zeros(120, dtype=torch.int64)
    y[7], y[50] = 1, 3
    return Built(Plain(7, 4), (x(120),), y, "cross_entropy")


@faulty(Expected("class-imbalance", name="target"), "told")
def mostly_negative_margins() -> Built:
    y = -torch.ones(80)
    y[:2] = 1.0
    return Built(Vector(), (x(80),), y, "soft_margin_loss")


@faulty(Expected("class-imbalance", name="input:1"), "told")
def own_loss_of_rare_positives() -> Built:
    y = torch.zeros(64, 1)
    y[3] = 1.0
    return Built(OwnLogits(), (x(64), y), None, "model")

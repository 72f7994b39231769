"""Batches whose inputs are out of scale, do not vary, or hold the same sample again and again."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


def perceptron(inputs: int, outputs: int, activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 32), activation(), nn.Linear(32, outputs))


class Cnn(nn.Module):
    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(12) if normalised else nn.Identity()
        self.conv2 = nn.Conv2d(12, 12, 3, padding=1)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.norm(self.conv1(x)))
        return self.head(F.relu(self.conv2(h)).mean((2, 3)))


# Out of scale.


@faulty(Expected("unscaled-input", name="input:0"), "told")
def pixels_into_a_convolution() -> Built:
    images = torch.randint(0, 256, (12, 3, 16, 16)).float()
    return Built(Cnn(normalised=False), (images,), classes(4, 12), "cross_entropy")


class Forecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(3, 16, batch_first=True)
        self.out = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, _ = self.rnn(x)
        return self.out(h[:, -1])


@faulty(Expected("unscaled-input", name="input:0"), "told")
def share_prices_into_an_lstm() -> Built:
    walk = 4000 + torch.randn(16, 24, 3).cumsum(1) * 40
    return Built(Forecaster(), (walk,), torch.randn(16, 1), "mse_loss")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def years_as_they_are() -> Built:
    years = torch.randint(1985, 2024, (48, 4)).float()
    return Built(perceptron(4, 3, nn.Tanh), (years,), classes(3, 48), "cross_entropy")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def metres_where_nanometres_were_meant() -> Built:
    return Built(perceptron(6, 1), (torch.rand(40, 6) * 1e-6,), torch.randn(40, 1), "mse_loss")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def air_pressure_with_its_offset() -> Built:
    pressure = 1.013 + torch.randn(40, 6) * 0.004
    return Built(perceptron(6, 1), (pressure,), torch.randn(40, 1), "mse_loss")


# Constant.


class Late(nn.Module):
    """Two inputs put beside each other."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.body = perceptron(first + second, 3)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([a, b], dim=1))


@faulty(Expected("constant-input", name="input:0"), "told")
def context_taken_from_the_first_sample() -> Built:
    a = torch.randn(24, 5)[:1].repeat(24, 1)
    return Built(Late(5, 6), (a, torch.randn(24, 6)), classes(3, 24), "cross_entropy")


@faulty(Expected("constant-input", name="input:0"), "told")
def most_columns_imputed() -> Built:
    x = torch.full((40, 20), 0.37)
    x[:, :3] = torch.randn(40, 3)
    return Built(perceptron(20, 3), (x,), classes(3, 40), "cross_entropy")


@faulty(Expected("constant-input", name="input:1"), "told")
def second_image_of_one_value() -> Built:
    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = Cnn(normalised=True)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (self.cnn(a) - self.cnn(b)).square().sum(1)

    inputs = (torch.randn(10, 3, 8, 8), torch.full((10, 3, 8, 8), 0.5))
    return Built(Siamese(), inputs, torch.rand(10), "mse_loss")


@faulty(Expected("constant-input", name="input:0"), "told")
def most_columns_lost_in_a_join() -> Built:
    x = torch.zeros(40, 20)
    x[:, 4:7] = torch.randn(40, 3)
    return Built(perceptron(20, 3), (x,), classes(3, 40), "cross_entropy")


# Copies.


@faulty(Expected("duplicate-samples", name="input:0"), "told")
def one_sentence_for_the_whole_batch() -> Built:
    model = nn.Sequential(nn.Embedding(80, 16), nn.Flatten(), nn.Linear(16 * 9, 4))
    tokens = torch.randint(0, 80, (1, 9)).repeat(20, 1)
    return Built(model, (tokens,), classes(4, 20), "cross_entropy")


@faulty(Expected("duplicate-samples", name="input:0"), "told")
def three_images_drawn_with_replacement() -> Built:
    images = torch.randn(3, 3, 8, 8)[torch.arange(12) % 3]
    return Built(Cnn(normalised=True), (images,), classes(4, 12), "cross_entropy")


@faulty(Expected("duplicate-samples", name="input:0"), "told")
def both_inputs_repeat() -> Built:
    pick = torch.arange(30) % 5
    inputs = (torch.randn(5, 6)[pick], torch.randn(5, 4)[pick])
    return Built(Late(6, 4), inputs, classes(3, 30), "cross_entropy")


# What looks alike and is fine.


@healthy()
def pixels_before_batch_norm() -> Built:
    images = torch.randint(0, 256, (12, 3, 16, 16)).float()
    return Built(Cnn(normalised=True), (images,), classes(4, 12), "cross_entropy")


class DividesItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = Cnn(normalised=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cnn((x / 255.0 - 0.5) / 0.25)


@healthy()
def pixels_scaled_by_the_model() -> Built:
    images = torch.randint(0, 256, (12, 3, 16, 16)).float()
    return Built(DividesItself(), (images,), classes(4, 12), "cross_entropy")


@healthy()
def standardised_with_outliers() -> Built:
    x = torch.randn(64, 8)
    x[3, 2], x[9, 5] = 14.0, -11.0
    return Built(perceptron(8, 3), (x,), classes(3, 64), "cross_entropy")


@healthy()
def one_hot_words() -> Built:
    x = F.one_hot(torch.arange(32) * 7 % 300, 300).float()
    return Built(perceptron(300, 4), (x,), classes(4, 32), "cross_entropy")


@healthy()
def bag_of_words_with_weights() -> Built:
    x = torch.rand(32, 500) * (torch.rand(32, 500) > 0.99).float()
    return Built(perceptron(500, 4), (x,), classes(4, 32), "cross_entropy")


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5000, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        h = self.embed(tokens) + torch.sin(position.unsqueeze(-1) / 10.0)
        return self.head((h * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True))


@healthy()
def mask_of_ones_and_the_same_positions() -> Built:
    inputs = (torch.randint(0, 5000, (12, 7)), torch.ones(12, 7), torch.arange(7).float().repeat(12, 1))
    return Built(Masked(), inputs, classes(3, 12), "cross_entropy")


@healthy()
def exclusive_or() -> Built:
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(8, 1)
    return Built(perceptron(2, 1, nn.Tanh), (x,), (x[:, :1] != x[:, 1:]).float(), "binary_cross_entropy_with_logits")


@healthy()
def one_image_with_many_noises() -> Built:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = perceptron(10, 10)

        def forward(self, clean: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
            return F.mse_loss(self.body(clean + noise), noise)

    clean = torch.randn(1, 10).repeat(32, 1) + torch.randn(32, 10) / 5
    return Built(Denoiser(), (clean, torch.randn(32, 10)), None, "model")


@healthy()
def images_with_black_borders() -> Built:
    images = torch.zeros(10, 3, 24, 24)
    images[:, :, 7:17, 7:17] = torch.randn(10, 3, 10, 10)
    return Built(Cnn(normalised=True), (images,), classes(4, 10), "cross_entropy")

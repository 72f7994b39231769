"""What goes wrong when real architectures are fine-tuned; rules were not made with these."""

from __future__ import annotations

import torch
import transformers as hf
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy
from zoo.cases.held_out_pretrained import (
    SMALL,
    WORDS,
    Field,
    Wrapped,
    by_position,
    clip_vision,
    logits,
    small_llama,
    words,
)


def small_gpt2(**options: object) -> nn.Module:
    config = hf.GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=32, n_layer=3, n_head=4, use_cache=False, **options)
    return hf.GPT2LMHeadModel(config)


def classifier(kind: str, **options: object) -> nn.Module:
    if kind == "bert":
        return hf.BertForSequenceClassification(hf.BertConfig(vocab_size=WORDS, num_labels=4, **SMALL, **options))
    if kind == "vit":
        config = hf.ViTConfig(image_size=32, patch_size=8, num_labels=4, **SMALL, **options)
        return hf.ViTForImageClassification(config)
    if kind == "convnext":
        config = hf.ConvNextConfig(hidden_sizes=[12, 24], depths=[2, 2], num_stages=2, patch_size=4, num_labels=4)
        return hf.ConvNextForImageClassification(config)
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[2, 2], num_labels=4)
    return hf.ResNetForImageClassification(config)


def language(
    model: nn.Module, pick: object = by_position, *, labels: torch.Tensor | None = None, **known: object
) -> Built:
    tokens = words(4, 13)
    target = tokens[:, 1:].flatten() if labels is None else labels
    return Built(Field(model, pick), (tokens[:, :-1],), target, "cross_entropy", **known)


def pictures(model: nn.Module, pick: object = logits, *, scale: float = 1.0, **known: object) -> Built:
    x = torch.randn(8, 3, 32, 32) * scale
    return Built(Field(model, pick), (x,), classes(4, 8), "cross_entropy", **known)


@faulty(Expected("non-finite-parameter", parameter="body.transformer.h.1.mlp.c_fc.weight"), "non-finite", "trace")
def gpt2_after_a_broken_merge() -> Built:
    model = small_gpt2()
    with torch.no_grad():
        model.get_parameter("transformer.h.1.mlp.c_fc.weight")[0, 0] = torch.inf
    return language(model, suffers=("body.transformer.wte.weight",))


@faulty(Expected("non-differentiable-op", op="aten::argmax"), "none", "trace")
def gpt2_scored_on_its_own_choice() -> Built:
    model = small_gpt2()

    def chosen(output: object) -> torch.Tensor:
        best = logits(output).argmax(-1)
        return F.one_hot(best, WORDS).float().flatten(0, 1)

    return language(model, chosen, suffers=("body.transformer.h.0.mlp.c_fc.weight",))


@faulty(Expected("flat-loss", name="loss"), "told", "trace")
def bert_with_every_label_ignored() -> Built:
    model = hf.BertForMaskedLM(hf.BertConfig(vocab_size=WORDS, **SMALL))
    return language(model, labels=torch.full((48,), -100))


@faulty(Expected("saturated-activation", module="body.bert.pooler.activation"), "told", "trace")
def bert_with_a_loud_pooler() -> Built:
    model = classifier("bert")
    with torch.no_grad():
        model.get_parameter("bert.pooler.dense.weight").mul_(400.0)
    return Built(Field(model, logits), (words(8),), classes(4, 8), "cross_entropy")


@faulty(Expected("shape-broadcast"), "told", "trace")
def distilbert_regression_against_a_flat_target() -> Built:
    config = hf.DistilBertConfig(vocab_size=WORDS, dim=32, n_layers=2, n_heads=4, hidden_dim=64, num_labels=1)
    model = hf.DistilBertForSequenceClassification(config)
    return Built(Field(model, logits), (words(8),), torch.randn(8), "mse_loss")


class Rewarded(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        scores = self.body(tokens[:, :-1]).logits.flatten(0, 1)
        return -F.cross_entropy(scores, tokens[:, 1:].flatten())


@faulty(Expected("unbounded-loss", name="loss"), "told", "trace")
def llama_that_maximises_its_loss() -> Built:
    return Built(Rewarded(small_llama()), (words(4, 13),), None, "model")


@faulty(Expected("softmax-dimension", op=("aten::softmax", "aten::log_softmax")), "told", "trace")
def vit_log_probabilities_over_the_batch() -> Built:
    built = pictures(classifier("vit"), lambda output: logits(output).log_softmax(0))
    built.loss = "nll_loss"
    return built


@faulty(Expected("missing-softmax", name="loss"), "told", "trace")
def convnext_logits_into_nll() -> Built:
    built = pictures(classifier("convnext"))
    built.loss = "nll_loss"
    return built


@faulty(Expected("detached-graph", op="aten::detach", line="hidden.detach()"), "none", "trace")
def convnext_with_a_detached_stage() -> Built:
    model = classifier("convnext")
    stages = model.get_submodule("convnext.encoder.stages")
    assert isinstance(stages, nn.ModuleList)
    stages[0] = Wrapped(stages[0], lambda hidden: hidden.detach())
    return pictures(model, suffers=("body.convnext.embeddings.patch_embeddings.weight",))


@faulty(Expected("dead-relu"), "zero", "trace")
def resnet_with_a_dead_stem() -> Built:
    model = classifier("resnet")
    nn.init.constant_(model.get_parameter("resnet.embedder.embedder.normalization.bias"), -40.0)
    return pictures(model, suffers=("body.resnet.embedder.embedder.convolution.weight",))


@faulty(Expected("zero-derivative-op", op="aten::sign", line="torch.sign"), "zero", "trace")
def clip_with_binary_hash_codes() -> Built:
    model = Field(clip_vision(), lambda output: torch.sign(output.image_embeds))
    suffers = ("body.visual_projection.weight",)
    return Built(model, (torch.randn(6, 3, 32, 32),), torch.randn(6, 16).sign(), "mse_loss", suffers=suffers)


@faulty(Expected("zero-multiplier"), "zero", "trace")
def gpt2_with_a_branch_scaled_by_zero() -> Built:
    model = small_gpt2()
    blocks = model.get_submodule("transformer.h")
    assert isinstance(blocks, nn.ModuleList)
    mlp = blocks[1].get_submodule("mlp")
    blocks[1].add_module("mlp", Wrapped(mlp, lambda hidden: hidden * 0.0))
    suffers = ("body.transformer.h.1.mlp.layer.c_fc.weight",)
    return language(model, suffers=suffers)


@faulty(Expected("frozen-normalization"), "told", "trace")
def resnet_with_statistics_of_other_pictures() -> Built:
    model = classifier("resnet")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(25.0)
            module.running_var.fill_(1e-2)
            module.eval()
    return pictures(model)


@faulty(Expected("poor-initialization"), "told", "trace")
def feed_forward_layers_without_residuals_scaled_up() -> Built:
    layers = [part for _ in range(16) for part in (nn.Linear(32, 32), nn.GELU())]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=1.5)
    return Built(nn.Sequential(*layers, nn.Linear(32, 3)), (torch.randn(8, 32),), classes(3, 8), "cross_entropy")


@faulty(Expected("excessive-dropout"), "told", "trace")
def bert_with_keep_rates_for_dropout() -> Built:
    model = classifier("bert", classifier_dropout=0.95)
    return Built(Field(model, logits), (words(16),), classes(4, 16), "cross_entropy")


@faulty(Expected("unscaled-input", name="input:0"), "told", "trace")
def patches_of_raw_pixels() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 16, 8, 8), nn.Tanh(), nn.Flatten(), nn.Linear(256, 4))
    return Built(model, (torch.randint(0, 256, (8, 3, 32, 32)).float(),), classes(4, 8), "cross_entropy")


@healthy("trace")
def gpt2_with_a_frozen_bottom() -> Built:
    model = small_gpt2()
    for name, parameter in model.named_parameters():
        if name.startswith(("transformer.w", "transformer.h.0")):
            parameter.requires_grad = False
    return language(model)


@healthy("trace")
def bert_head_on_a_frozen_body() -> Built:
    model = classifier("bert")
    model.get_submodule("bert").requires_grad_(requires_grad=False)
    return Built(Field(model, logits), (words(12),), classes(4, 12), "cross_entropy")


@healthy("trace")
def convnext_without_layer_scale() -> Built:
    return pictures(classifier("convnext"))


@healthy("trace")
def resnet_whose_residual_branches_start_at_zero() -> Built:
    model = classifier("resnet")
    for name, parameter in model.named_parameters():
        if name.endswith("layer.2.normalization.weight"):
            nn.init.zeros_(parameter)
    return pictures(model)


@healthy("trace")
def llama_with_dropout_and_label_smoothing() -> Built:
    built = language(small_llama())
    built.options = {"label_smoothing": 0.1}
    return built

"""Architectures of the transformers library that rules were not made with, healthy and with one planted fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import transformers as hf
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = 90
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


class Field(nn.Module):
    """Returns what a function takes from the model's output."""

    def __init__(self, body: nn.Module, pick: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.body = body
        self.pick = pick

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pick(self.body(x))


def logits(output: object) -> torch.Tensor:
    found: torch.Tensor = output.logits  # type: ignore[attr-defined]
    return found


def by_position(output: object) -> torch.Tensor:
    return logits(output).flatten(0, 1)


def words(rows: int = 4, steps: int = 12) -> torch.Tensor:
    return torch.randint(1, WORDS, (rows, steps))


def masked_bert() -> nn.Module:
    return hf.BertForMaskedLM(hf.BertConfig(vocab_size=WORDS, max_position_embeddings=32, **SMALL))


@healthy("trace")
def bert_with_masked_words() -> Built:
    tokens = words(8, 16)
    chosen = torch.rand(8, 16) < 0.2
    labels = torch.where(chosen, tokens, -100).flatten()
    return Built(Field(masked_bert(), by_position), (tokens.masked_fill(chosen, 2),), labels, "cross_entropy")


class Translating(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, source: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        output = self.body(input_ids=source, decoder_input_ids=previous, use_cache=False)
        return output.logits.flatten(0, 1)


def small_t5(**options: object) -> nn.Module:
    config = hf.T5Config(
        vocab_size=WORDS, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4, **options
    )
    return hf.T5ForConditionalGeneration(config)


@healthy("trace")
def t5_translation() -> Built:
    return Built(Translating(small_t5()), (words(), words(4, 7)), words(4, 7).flatten(), "cross_entropy")


@healthy("trace")
def segformer_segmentation() -> Built:
    config = hf.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], num_attention_heads=[1, 2],
        patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=4,
    )  # fmt: skip
    model = Field(hf.SegformerForSemanticSegmentation(config), logits)
    return Built(model, (torch.randn(3, 3, 32, 32),), torch.randint(0, 4, (3, 8, 8)), "cross_entropy")


def clip_vision() -> nn.Module:
    return hf.CLIPVisionModelWithProjection(
        hf.CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=16, **SMALL)
    )


@healthy("trace")
def clip_image_embedding() -> Built:
    model = Field(clip_vision(), lambda output: output.image_embeds)
    return Built(model, (torch.randn(6, 3, 32, 32),), torch.randn(6, 16), "mse_loss")


class Heard(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        config = hf.Wav2Vec2Config(
            vocab_size=12, conv_dim=(16, 16), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2,
            mask_time_prob=0.0, layerdrop=0.0, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, **SMALL,
        )  # fmt: skip
        self.body = hf.Wav2Vec2ForCTC(config)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.body(wave).logits.log_softmax(-1).transpose(0, 1)


@healthy("trace")
def wav2vec2_with_ctc() -> Built:
    target = {
        "targets": torch.randint(1, 12, (3, 6)),
        "input_lengths": torch.full((3,), 39),
        "target_lengths": torch.tensor([6, 5, 4]),
    }
    return Built(Heard(), (torch.randn(3, 400),), target, "ctc_loss")


@healthy("trace")
def distilbert_regression() -> Built:
    config = hf.DistilBertConfig(vocab_size=WORDS, dim=32, n_layers=3, n_heads=4, hidden_dim=64, num_labels=1)
    model = Field(hf.DistilBertForSequenceClassification(config), logits)
    return Built(model, (words(8),), torch.randn(8, 1), "mse_loss")


def small_llama(layers: int = 3) -> nn.Module:
    config = hf.LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=64, use_cache=False,
    )  # fmt: skip
    return hf.LlamaForCausalLM(config)


@healthy("trace")
def llama_in_bfloat16() -> Built:
    tokens = words(4, 13)
    return Built(
        Field(small_llama().bfloat16(), by_position), (tokens[:, :-1],), tokens[:, 1:].flatten(), "cross_entropy"
    )


class LowRank(nn.Module):
    """LoRA around a linear layer of a frozen model."""

    def __init__(self, base: nn.Linear, *, both_zero: bool = False) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 4, bias=False)
        self.up = nn.Linear(4, base.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        if both_zero:
            nn.init.zeros_(self.down.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + 2.0 * self.up(self.down(x))


def adapted_llama(*, both_zero: bool) -> nn.Module:
    model = small_llama().requires_grad_(requires_grad=False)
    for layer in model.model.layers:
        layer.self_attn.q_proj = LowRank(layer.self_attn.q_proj, both_zero=both_zero)
        layer.self_attn.v_proj = LowRank(layer.self_attn.v_proj, both_zero=both_zero)
    return model


@healthy("trace")
def llama_with_low_rank_adapters() -> Built:
    tokens = words(4, 13)
    model = Field(adapted_llama(both_zero=False), by_position)
    return Built(model, (tokens[:, :-1],), tokens[:, 1:].flatten(), "cross_entropy")


LAYER = "body.model.layers.0.self_attn."


@faulty(Expected("zero-weights", parameter=tuple(
    f"body.model.layers.{i}.self_attn.{kind}_proj.{part}.weight"
    for i in range(3) for kind in "qv" for part in ("down", "up")
)), "zero", "trace")  # fmt: skip
def llama_adapters_both_zero() -> Built:
    tokens = words(4, 13)
    suffers = (LAYER + "q_proj.down.weight", LAYER + "q_proj.up.weight", LAYER + "v_proj.up.weight")
    model = Field(adapted_llama(both_zero=True), by_position)
    return Built(model, (tokens[:, :-1],), tokens[:, 1:].flatten(), "cross_entropy", suffers=suffers)


class Wrapped(nn.Module):
    """A layer of a model with something done to what it returns."""

    def __init__(self, layer: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer = layer
        self.change = change

    def forward(self, *inputs: object, **named: object) -> torch.Tensor:
        found = self.layer(*inputs, **named)
        return self.change(found[0] if isinstance(found, tuple) else found)


@faulty(Expected("detached-graph", op="aten::detach", line="hidden.detach()"), "none", "trace")
def llama_with_a_detached_layer() -> Built:
    model = small_llama()
    layers = model.get_submodule("model.layers")
    assert isinstance(layers, nn.ModuleList)
    layers[1] = Wrapped(layers[1], lambda hidden: hidden.detach())
    model.lm_head.weight = nn.Parameter(torch.randn(WORDS, 32) * 0.02)
    tokens = words(4, 13)
    suffers = ("body.model.layers.0.self_attn.q_proj.weight", "body.model.embed_tokens.weight")
    built = Field(model, by_position)
    return Built(built, (tokens[:, :-1],), tokens[:, 1:].flatten(), "cross_entropy", suffers=suffers)


@faulty(Expected("dead-relu", module="body.bert.encoder.layer.1.intermediate.intermediate_act_fn"), "zero", "trace")
def bert_with_a_dead_feed_forward_layer() -> Built:
    config = hf.BertConfig(vocab_size=WORDS, hidden_act="relu", num_labels=3, **SMALL)
    model = hf.BertForSequenceClassification(config)
    nn.init.constant_(model.bert.encoder.layer[1].intermediate.dense.bias, -25.0)
    suffers = tuple(
        f"body.bert.encoder.layer.1.{name}" for name in ("intermediate.dense.weight", "output.dense.weight")
    )
    return Built(Field(model, logits), (words(6),), classes(3, 6), "cross_entropy", suffers=suffers)


@faulty(Expected("unused-parameter", module="body.pooler"), "none", "trace")
def bert_pooler_not_used_by_the_loss() -> Built:
    model = Field(hf.BertModel(hf.BertConfig(vocab_size=WORDS, **SMALL)), lambda output: output.last_hidden_state)
    suffers = ("body.pooler.dense.weight", "body.pooler.dense.bias")
    return Built(model, (words(),), torch.randn(4, 12, 32), "mse_loss", suffers=suffers)


@faulty(Expected("double-softmax", op="aten::softmax", line="softmax(-1)"), "told", "trace")
def vit_probabilities_into_cross_entropy() -> Built:
    config = hf.ViTConfig(image_size=32, patch_size=8, num_labels=5, **SMALL)
    model = Field(hf.ViTForImageClassification(config), lambda output: output.logits.softmax(-1))
    x = torch.randn(10, 3, 32, 32)
    return Built(model, (x,), classes(5, 10), "cross_entropy", shown=lambda: _sums_to_one(model(x)))


def _sums_to_one(output: torch.Tensor) -> bool:
    return bool(torch.allclose(output.sum(-1), torch.ones(()), atol=1e-4))


@faulty(Expected("saturated-softmax", module=tuple(
    f"body.encoder.block.0.layer.0.SelfAttention{part}" for part in ("", ".softmax")
)), "told", "trace")  # fmt: skip
def t5_attention_with_huge_queries() -> Built:
    model = small_t5()
    with torch.no_grad():
        model.get_parameter("encoder.block.0.layer.0.SelfAttention.q.weight").mul_(4000.0)
    return Built(Translating(model), (words(), words(4, 7)), words(4, 7).flatten(), "cross_entropy")


@faulty(
    Expected("non-finite-parameter", parameter="body.vision_model.encoder.layers.1.mlp.fc1.weight"),
    "non-finite",
    "trace",
)
def clip_with_one_corrupt_weight() -> Built:
    model = clip_vision()
    name = "vision_model.encoder.layers.1.mlp.fc1.weight"
    with torch.no_grad():
        model.get_parameter(name)[3, 5] = torch.nan
    suffers = ("body.vision_model.encoder.layers.0.mlp.fc1.weight",)
    picked = Field(model, lambda output: output.image_embeds)
    return Built(picked, (torch.randn(6, 3, 32, 32),), torch.randn(6, 16), "mse_loss", suffers=suffers)


@faulty(Expected("frozen-parameter"), "untrainable", "trace")
def convnext_wholly_frozen() -> Built:
    config = hf.ConvNextConfig(hidden_sizes=[12, 24], depths=[1, 2], num_stages=2, patch_size=4, num_labels=5)
    model = Field(hf.ConvNextForImageClassification(config).requires_grad_(requires_grad=False), logits)
    return Built(model, (torch.randn(5, 3, 32, 32),), classes(5, 5), "cross_entropy")


@faulty(Expected("target-out-of-range", name="target"), "raises", "trace")
def segformer_with_an_unmasked_void_label() -> Built:
    built = segformer_segmentation()
    target = torch.randint(0, 4, (3, 8, 8))
    target[:, 0] = 255
    return Built(built.model, built.inputs, target, "cross_entropy")


@faulty(Expected("zero-derivative-op", op="aten::round", line="torch.round"), "zero", "trace")
def distilbert_with_quantised_hidden_states() -> Built:
    config = hf.DistilBertConfig(vocab_size=WORDS, dim=32, n_layers=2, n_heads=4, hidden_dim=64, num_labels=3)
    model = hf.DistilBertForSequenceClassification(config)
    layers = model.distilbert.transformer.layer
    layers[0] = Wrapped(layers[0], lambda hidden: torch.round(hidden * 64) / 64)
    suffers = tuple(f"body.distilbert.transformer.layer.0.layer.ffn.lin{i}.weight" for i in (1, 2))
    return Built(Field(model, logits), (words(6),), classes(3, 6), "cross_entropy", suffers=suffers)


@faulty(Expected("inference-trace"), "told", "trace")
def gpt2_traced_in_eval_mode() -> Built:
    config = hf.GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=32, n_layer=2, n_head=4, use_cache=False)
    model = Field(hf.GPT2LMHeadModel(config).eval(), by_position)
    tokens = words(4, 13)
    return Built(
        model, (tokens[:, :-1],), tokens[:, 1:].flatten(), "cross_entropy", shown=lambda: not model.body.training
    )


@faulty(Expected("degenerate-normalization", op="aten::softmax", line="F.softmax"), "zero", "trace")
def resnet_softmax_over_one_class() -> Built:
    config = hf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=1)
    model = Field(hf.ResNetForImageClassification(config), lambda output: F.softmax(output.logits, dim=1))
    y = classes(2, 8).float().unsqueeze(1)
    suffers = ("body.classifier.1.weight", "body.resnet.embedder.embedder.convolution.weight")
    return Built(model, (torch.randn(8, 3, 32, 32),), y, "binary_cross_entropy", suffers=suffers)

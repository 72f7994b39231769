"""Models of the transformers library, each with one planted fault; written before any rule saw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers as hf
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = 90
SMALL = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}


class Taking(nn.Module):
    """Calls a model and takes what a function picks from its output."""

    def __init__(self, body: nn.Module, pick: Callable[..., torch.Tensor], **known: object) -> None:
        super().__init__()
        self.body = body
        self.pick = pick
        self.known = known

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.pick(self.body(x, **self.known))


def logits(output: object) -> torch.Tensor:
    found: torch.Tensor = output.logits  # type: ignore[attr-defined]
    return found


def by_position(output: object) -> torch.Tensor:
    return logits(output).flatten(0, 1)


def words(rows: int = 4, steps: int = 12) -> torch.Tensor:
    return torch.randint(1, WORDS, (rows, steps))


def gpt2(layers: int = 3) -> Any:
    return hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=32, n_layer=layers, n_head=4))


def language(body: nn.Module, suffers: tuple[str, ...] = (), **known: object) -> Built:
    return Built(
        Taking(body, by_position, use_cache=False, **known),
        (words(),), words().flatten(), "cross_entropy", suffers=tuple(f"body.{name}" for name in suffers),
    )  # fmt: skip


@faulty(Expected("non-finite-parameter", parameter="body.transformer.h.1.mlp.c_fc.weight"), "non-finite", "trace")
def gpt2_with_one_nan_after_a_crash() -> Built:
    body = gpt2()
    with torch.no_grad():
        body.transformer.h[1].mlp.c_fc.weight[0, 0] = float("nan")
    return language(body, ("transformer.h.1.mlp.c_fc.weight",))


@faulty(Expected("saturated-softmax", module="body.transformer.h.1.attn"), "told", "trace")
def gpt2_query_and_key_scaled_up() -> Built:
    body = gpt2()
    with torch.no_grad():
        body.transformer.h[1].attn.c_attn.weight[:, :64] *= 300.0
    return language(body)


@faulty(Expected("zero-weights"), "zero", "trace")
def gpt2_feed_forward_all_zero() -> Built:
    body = gpt2()
    for layer in (body.transformer.h[2].mlp.c_fc, body.transformer.h[2].mlp.c_proj):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return language(body, ("transformer.h.2.mlp.c_fc.weight", "transformer.h.2.mlp.c_proj.weight"))


@faulty(Expected("detached-graph"), "none", "trace")
def gpt2_embeddings_detached() -> Built:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = gpt2()

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            hidden = self.body.transformer(tokens, use_cache=False).last_hidden_state
            return F.linear(hidden.detach(), self.body.lm_head.weight).flatten(0, 1)

    return Built(
        Wrapped(), (words(),), words().flatten(), "cross_entropy",
        suffers=("body.transformer.h.0.mlp.c_fc.weight", "body.transformer.wpe.weight"),
    )  # fmt: skip


def bert(labels: int = 3, **known: object) -> Any:
    config = hf.BertConfig(vocab_size=WORDS, max_position_embeddings=32, num_labels=labels, **SMALL, **known)
    return hf.BertForSequenceClassification(config)


@faulty(Expected("dead-relu", module="body.bert.encoder.layer.1.intermediate.intermediate_act_fn"), "zero", "trace")
def bert_relu_feed_forward_dead() -> Built:
    body = bert(hidden_act="relu")
    nn.init.constant_(body.bert.encoder.layer[1].intermediate.dense.bias, -60.0)
    return Built(
        Taking(body, logits), (words(6),), classes(3, 6), "cross_entropy",
        suffers=("body.bert.encoder.layer.1.intermediate.dense.weight",),
    )  # fmt: skip


@faulty(Expected("double-softmax", op="aten::softmax"), "told", "trace")
def bert_probabilities_into_cross_entropy() -> Built:
    model = Taking(bert(), lambda output: output.logits.softmax(-1))
    return Built(model, (words(6),), classes(3, 6), "cross_entropy")


@faulty(Expected("target-out-of-range", name="target"), "raises", "trace")
def bert_with_a_label_too_many() -> Built:
    return Built(Taking(bert(3), logits), (words(6),), classes(4, 6), "cross_entropy")


@faulty(Expected("saturated-activation", module="body.bert.pooler.activation"), "tiny", "trace")
def bert_pooler_saturated() -> Built:
    body = bert()
    nn.init.normal_(body.bert.pooler.dense.weight, std=300.0)
    return Built(
        Taking(body, logits), (words(6),), classes(3, 6), "cross_entropy",
        suffers=("body.bert.encoder.layer.0.output.dense.weight",),
    )  # fmt: skip


def llama(**known: object) -> Any:
    config = hf.LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, use_cache=False, **known,
    )  # fmt: skip
    return hf.LlamaForCausalLM(config)


@faulty(Expected("zero-weights"), "zero", "trace")
def llama_mlp_gate_and_down_zero() -> Built:
    body = llama()
    nn.init.zeros_(body.model.layers[1].mlp.gate_proj.weight)
    nn.init.zeros_(body.model.layers[1].mlp.down_proj.weight)
    return language(body, ("model.layers.1.mlp.gate_proj.weight", "model.layers.1.mlp.down_proj.weight"))


@faulty(Expected("frozen-parameter"), "untrainable", "trace")
def llama_frozen_and_no_adapter_added() -> Built:
    body = llama()
    body.requires_grad_(False)  # noqa: FBT003 - torch's own spelling
    return language(body)


@faulty(Expected("unused-parameter"), "none", "trace")
def llama_last_layer_skipped() -> Built:
    class Early(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = llama()

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            states = self.body.model(tokens, output_hidden_states=True, use_cache=False).hidden_states
            return self.body.lm_head(states[-2]).flatten(0, 1)

    return Built(
        Early(), (words(),), words().flatten(), "cross_entropy",
        suffers=("body.model.layers.2.mlp.down_proj.weight", "body.model.norm.weight"),
    )  # fmt: skip


class Translating(nn.Module):
    def __init__(self, **known: object) -> None:
        super().__init__()
        config = hf.T5Config(
            vocab_size=WORDS, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_decoder_layers=2, num_heads=4, **known
        )
        self.body: Any = hf.T5ForConditionalGeneration(config)

    def forward(self, source: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        output = self.body(input_ids=source, decoder_input_ids=previous, use_cache=False)
        return output.logits.flatten(0, 1)


@faulty(Expected("dead-relu"), "zero", "trace")
def t5_feed_forward_dead() -> Built:
    model = Translating()
    with torch.no_grad():  # all that the layer reads is positive, all its weights are negative
        model.body.shared.weight.abs_()
        model.body.encoder.block[0].layer[0].SelfAttention.o.weight.zero_()
        model.body.encoder.block[0].layer[1].DenseReluDense.wi.weight.abs_().neg_()
    return Built(
        model, (words(), words(4, 7)), words(4, 7).flatten(), "cross_entropy",
        suffers=("body.encoder.block.0.layer.1.DenseReluDense.wi.weight",),
    )  # fmt: skip


@faulty(Expected("target-out-of-range", name="target"), "raises", "trace")
def t5_padding_label_minus_one() -> Built:
    target = words(4, 7)
    target[:, 5:] = -1
    return Built(Translating(), (words(), words(4, 7)), target.flatten(), "cross_entropy")


def vit(**known: object) -> nn.Module:
    config = hf.ViTConfig(image_size=32, patch_size=8, num_labels=5, **SMALL, **known)
    return hf.ViTForImageClassification(config)


def pictures(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, 3, 32, 32)


@faulty(Expected("softmax-dimension"), "told", "trace")
def vit_log_softmax_over_the_images() -> Built:
    model = Taking(vit(), lambda output: F.log_softmax(output.logits, dim=0))
    return Built(model, (pictures(),), classes(5, 6), "nll_loss")


def convnext(**known: object) -> Any:
    config = hf.ConvNextConfig(hidden_sizes=[16, 32], depths=[2, 2], num_stages=2, patch_size=4, num_labels=5, **known)
    return hf.ConvNextForImageClassification(config)


@faulty(Expected("clamp-saturation", op="aten::clamp"), "zero", "trace")
def convnext_logits_clamped_too_tightly() -> Built:
    body = convnext()
    nn.init.constant_(body.classifier.bias, 2.0)
    model = Taking(body, lambda output: output.logits.clamp(0.0, 1.0))
    return Built(model, (pictures(),), classes(5, 6), "cross_entropy", suffers=("body.classifier.weight",))


def resnet() -> Any:
    config = hf.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], num_labels=5)
    return hf.ResNetForImageClassification(config)


@faulty(Expected("batch-too-small"), "told", "trace")
def resnet_on_a_batch_of_two_small_images() -> Built:
    return Built(Taking(resnet(), logits), (torch.randn(2, 3, 8, 8),), classes(5, 2), "cross_entropy")


@faulty(Expected("frozen-normalization"), "told", "trace")
def resnet_in_eval_mode_on_raw_pixels() -> Built:
    body = resnet()
    body.resnet.eval()
    return Built(Taking(body, logits), (torch.rand(6, 3, 64, 64) * 255,), classes(5, 6), "cross_entropy")


class Heard(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        config = hf.Wav2Vec2Config(
            vocab_size=12, conv_dim=(16, 16), conv_kernel=(10, 3), conv_stride=(5, 2), num_feat_extract_layers=2,
            mask_time_prob=0.0, layerdrop=0.0, num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, **SMALL,
        )  # fmt: skip
        self.body = hf.Wav2Vec2ForCTC(config)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        return self.body(wave).logits.transpose(0, 1)


@faulty(Expected("missing-softmax", name="loss"), "told", "trace")
def wav2vec2_scores_into_ctc() -> Built:
    target = {
        "targets": torch.randint(1, 12, (3, 6)),
        "input_lengths": torch.full((3,), 39),
        "target_lengths": torch.tensor([6, 5, 4]),
    }
    return Built(Heard(), (torch.randn(3, 400),), target, "ctc_loss")


def segformer() -> nn.Module:
    config = hf.SegformerConfig(
        num_encoder_blocks=2, depths=[1, 1], sr_ratios=[2, 1], hidden_sizes=[16, 32], num_attention_heads=[1, 2],
        patch_sizes=[7, 3], strides=[4, 2], mlp_ratios=[2, 2], decoder_hidden_size=16, num_labels=4,
    )  # fmt: skip
    return hf.SegformerForSemanticSegmentation(config)


@faulty(Expected("non-differentiable-op", op="aten::argmax"), "none", "trace")
def segformer_labels_into_a_regression() -> Built:
    model = Taking(segformer(), lambda output: output.logits.argmax(1).float())
    return Built(
        model, (torch.randn(3, 3, 32, 32),), torch.randint(0, 4, (3, 8, 8)).float(), "mse_loss",
        suffers=("body.decode_head.classifier.weight",),
    )  # fmt: skip


@faulty(Expected("flat-loss", name="loss"), "zero", "trace")
def segformer_with_only_void_labels() -> Built:
    return Built(
        Taking(segformer(), logits), (torch.randn(3, 3, 32, 32),), torch.full((3, 8, 8), 255), "cross_entropy",
        options={"ignore_index": 255}, suffers=("body.decode_head.classifier.weight",),
    )  # fmt: skip


@faulty(Expected("non-finite-backward"), "non-finite", "trace")
def clip_embedding_normalised_at_zero() -> Built:
    class Embedding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            config = hf.CLIPVisionConfig(image_size=32, patch_size=8, projection_dim=16, **SMALL)
            self.body = hf.CLIPVisionModelWithProjection(config)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = self.body(x).image_embeds * (x.abs().amax(dim=(1, 2, 3)) > 0).float().unsqueeze(1)
            return z / (z.pow(2).sum(-1, keepdim=True).sqrt() + 1e-6)

    x = pictures()
    x[4] = 0.0
    return Built(Embedding(), (x,), torch.randn(6, 16), "mse_loss", suffers=("body.visual_projection.weight",))

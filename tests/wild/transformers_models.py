"""Architectures of the transformers library; it writes none that can be scripted."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf
from torch import nn

from wild.architecture import architecture, classifier, noise, projected
from zoo.case import Built

TOKENS = 120
SMALL = {
    "vocab_size": TOKENS,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


class Answer(nn.Module):
    """One field of what a model returns, with what it scores moved to where the loss looks for it."""

    def __init__(self, body: nn.Module, field: str = "logits", **options: Any) -> None:
        super().__init__()
        self.body, self.field, self.options = body, field, options

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = getattr(self.body(x, **self.options), self.field)
        return scores.transpose(1, 2) if scores.dim() == 3 and self.field == "logits" else scores


def tokens(length: int = 16, batch: int = 4) -> torch.Tensor:
    return torch.randint(1, TOKENS, (batch, length))


def causal(name: str, **settings: Any) -> None:
    """A model of the next token."""

    def build() -> Built:
        model = hf.AutoModelForCausalLM.from_config(hf.AutoConfig.for_model(name, **settings))
        return Built(Answer(model, use_cache=False).train(), (tokens(),), tokens(), "cross_entropy")

    architecture(f"{name}_causal", build, "trace")


def masked(name: str, **settings: Any) -> None:
    """A model of hidden tokens."""

    def build() -> Built:
        model = hf.AutoModelForMaskedLM.from_config(hf.AutoConfig.for_model(name, **settings))
        return Built(Answer(model).train(), (tokens(),), tokens(), "cross_entropy")

    architecture(f"{name}_masked", build, "trace")


def sentences(name: str, **settings: Any) -> None:
    """A classifier of sequences of tokens."""

    def make() -> nn.Module:
        config = hf.AutoConfig.for_model(name, num_labels=5, pad_token_id=0, **settings)
        return Answer(hf.AutoModelForSequenceClassification.from_config(config))

    classifier(f"{name}_sentences", make, tokens, form="trace")


def pictures(name: str, size: int = 32, **settings: Any) -> None:
    """A classifier of images."""

    def make() -> nn.Module:
        config = hf.AutoConfig.for_model(name, num_labels=5, **settings)
        return Answer(hf.AutoModelForImageClassification.from_config(config))

    classifier(f"{name}_pictures", make, noise(4, 3, size, size), form="trace")


GPT = {"vocab_size": TOKENS, "n_positions": 32, "n_embd": 48, "n_layer": 2, "n_head": 4}
GROUPED = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0}
causal("gpt2", **GPT)
causal("gptj", **GPT, rotary_dim=8)
causal("openai-gpt", **GPT)
causal("codegen", **GPT, rotary_dim=8)
causal("gpt_bigcode", **GPT)
causal(
    "gpt_neo",
    vocab_size=TOKENS,
    hidden_size=48,
    num_layers=2,
    num_heads=4,
    attention_types=[[["global", "local"], 1]],
    window_size=8,
)
causal("gpt_neox", **SMALL)
causal("llama", **GROUPED)
causal("mistral", **GROUPED, sliding_window=8)
causal("qwen2", **GROUPED)
causal("qwen3", **GROUPED, head_dim=12)
causal("gemma", **GROUPED, head_dim=12)
causal("gemma2", **GROUPED, head_dim=12)
causal("phi", **GROUPED)
causal("phi3", **GROUPED)
causal("cohere", **GROUPED)
causal("starcoder2", **GROUPED)
causal("olmo", **GROUPED)
causal("granite", **GROUPED)
causal("mixtral", **GROUPED, num_local_experts=4)
causal("falcon", vocab_size=TOKENS, hidden_size=48, num_hidden_layers=2, num_attention_heads=4)
causal("mpt", vocab_size=TOKENS, d_model=48, n_layers=2, n_heads=4, max_seq_len=64)
causal(
    "opt",
    vocab_size=TOKENS,
    hidden_size=48,
    ffn_dim=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    word_embed_proj_dim=48,
)
causal("xglm", vocab_size=TOKENS, d_model=48, ffn_dim=96, num_layers=2, attention_heads=4)
causal("mamba", vocab_size=TOKENS, hidden_size=48, num_hidden_layers=2, state_size=8)
causal("rwkv", vocab_size=TOKENS, hidden_size=48, num_hidden_layers=2, context_length=32)
masked("bert", **SMALL)
masked("roberta", **SMALL, pad_token_id=0)
masked("albert", **SMALL, embedding_size=24)
masked("electra", **SMALL, embedding_size=24)
masked("mobilebert", **SMALL, embedding_size=24, intra_bottleneck_size=24)
masked("distilbert", vocab_size=TOKENS, dim=48, hidden_dim=96, n_layers=2, n_heads=4)
masked("deberta-v2", **SMALL, relative_attention=True, pos_att_type=["p2c", "c2p"])
masked("mpnet", **SMALL)
masked("fnet", vocab_size=TOKENS, hidden_size=48, intermediate_size=96, num_hidden_layers=2)
masked("convbert", **SMALL, embedding_size=48)
masked("modernbert", **SMALL, pad_token_id=0)
masked("roformer", **SMALL, embedding_size=48)
sentences("bert", **SMALL)
sentences("distilbert", vocab_size=TOKENS, dim=48, hidden_dim=96, n_layers=2, n_heads=4)
sentences("squeezebert", **SMALL, embedding_size=48)
sentences("xlnet", vocab_size=TOKENS, d_model=48, n_layer=2, n_head=4, d_inner=96)
sentences("funnel", vocab_size=TOKENS, d_model=48, n_head=4, d_head=12, d_inner=96, block_sizes=[1, 1])
sentences(
    "canine",
    hidden_size=48,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    local_transformer_stride=8,
    downsampling_rate=4,
)

PATCHES = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}
pictures("vit", **PATCHES)
pictures("beit", **PATCHES, use_relative_position_bias=True)
pictures("dinov2", **PATCHES)
pictures("vit_msn", **PATCHES)
pictures("swin", image_size=32, patch_size=4, embed_dim=24, depths=[1, 1], num_heads=[2, 4], window_size=4)
pictures("swinv2", image_size=32, patch_size=4, embed_dim=24, depths=[1, 1], num_heads=[2, 4], window_size=4)
pictures("resnet", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1])
pictures("regnet", embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], groups_width=8)
pictures("convnext", hidden_sizes=[16, 32], depths=[1, 1], num_stages=2)
pictures("convnextv2", hidden_sizes=[16, 32], depths=[1, 1], num_stages=2)
pictures(
    "segformer",
    size=64,
    hidden_sizes=[16, 32],
    depths=[1, 1],
    num_encoder_blocks=2,
    sr_ratios=[4, 2],
    patch_sizes=[7, 3],
    strides=[4, 2],
    num_attention_heads=[1, 2],
    mlp_ratios=[2, 2],
)
pictures(
    "poolformer",
    size=64,
    hidden_sizes=[16, 32],
    depths=[1, 1],
    num_encoder_blocks=2,
    patch_sizes=[7, 3],
    strides=[4, 2],
    padding=[2, 1],
)
pictures("pvt", size=64, image_size=64, hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1])
pictures("mobilenet_v1", size=64, depth_multiplier=0.25)
pictures("mobilenet_v2", size=64, depth_multiplier=0.25)
pictures(
    "mobilevit",
    size=64,
    image_size=64,
    hidden_sizes=[24, 32, 40],
    neck_hidden_sizes=[8, 8, 16, 16, 24, 32, 64],
    num_attention_heads=2,
)
pictures("focalnet", size=64, image_size=64, embed_dim=24, depths=[1, 1, 1, 1])
pictures("bit", embedding_size=16, hidden_sizes=[32, 64], depths=[1, 1], num_groups=4)


def clip_vision() -> nn.Module:
    return Answer(hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(**PATCHES, projection_dim=16)), "image_embeds")


projected("clip_vision", clip_vision, noise(4, 3, 32, 32), form="trace")


def hearing(name: str) -> None:
    """A model of sound, 4,000 samples long."""

    def make() -> nn.Module:
        config = hf.AutoConfig.for_model(
            name, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96,
            conv_dim=(16, 16, 16), conv_stride=(5, 4, 4), conv_kernel=(10, 8, 4), num_feat_extract_layers=3,
            num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, mask_time_prob=0.0, layerdrop=0.0,
        )  # fmt: skip
        return Answer(hf.AutoModel.from_config(config), "last_hidden_state")

    projected(name, make, noise(2, 4000), form="trace")


for name in ("wav2vec2", "hubert", "wavlm", "data2vec-audio"):
    hearing(name)


class SequenceToSequence(nn.Module):
    """Scores of the next token of one sequence, given another."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, source: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.body(input_ids=source, decoder_input_ids=wanted, use_cache=False).logits
        return scores.transpose(1, 2)


def translation(name: str, **settings: Any) -> None:
    def build() -> Built:
        model = hf.AutoModelForSeq2SeqLM.from_config(hf.AutoConfig.for_model(name, vocab_size=TOKENS, **settings))
        return Built(SequenceToSequence(model).train(), (tokens(), tokens(8)), tokens(8), "cross_entropy")

    architecture(f"{name}_translation", build, "trace")


BOTH = {
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
}
translation("t5", d_model=48, d_ff=96, d_kv=12, num_layers=2, num_heads=4)
translation("mt5", d_model=48, d_ff=96, d_kv=12, num_layers=2, num_heads=4)
translation("bart", **BOTH)
translation("pegasus", **BOTH)
translation("marian", **BOTH, pad_token_id=0, decoder_start_token_id=0)

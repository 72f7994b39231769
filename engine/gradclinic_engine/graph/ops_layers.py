"""Operators that networks are made of: products, convolutions, norms, softmax, recurrences, attention, dropout."""

from __future__ import annotations

import math

from gradclinic_engine.graph.op import Formula, Growth, Kind, Norm, Squash, Units, Weight
from gradclinic_engine.graph.ops_elements import BOTH_WAYS
from gradclinic_engine.graph.rows import rows

_INF = math.inf
_LAST, _CHANNELS = Units.LAST, Units.CHANNELS

_PRODUCT = {"factors": BOTH_WAYS, "weight_at": 1, "units": _LAST}
_SUM_OF_PRODUCT = {  # `beta a + alpha b c`
    "factors": {1: (2,), 2: (1,)},
    "number_factors": (("beta", 0, 0.0), ("alpha", 1, 0.0), ("alpha", 2, 0.0)),
}
_ADDED = {**_SUM_OF_PRODUCT, "weight_at": 2, "bias_at": 0, "units": _LAST}
_PRODUCTS = (
    *rows("linear", Kind.PRODUCT, weight=Weight.OUT_FIRST, bias_at=2, **_PRODUCT),
    *rows("matmul linalg_matmul", Kind.PRODUCT, weight=Weight.FACTOR, is_batched=True, **_PRODUCT),
    *rows("mm", Kind.PRODUCT, weight=Weight.FACTOR, **_PRODUCT),
    *rows("bmm", Kind.PRODUCT, weight=Weight.FACTORS, is_batched=True, **_PRODUCT),
    *rows("addmm", Kind.PRODUCT, weight=Weight.FACTOR, **_ADDED),
    *rows("baddbmm", Kind.PRODUCT, weight=Weight.FACTORS, is_batched=True, **_ADDED),
    *rows("addmv addbmm", Kind.PRODUCT, **_SUM_OF_PRODUCT),
    *rows("addr", Kind.ARITHMETIC, **_SUM_OF_PRODUCT),
    *rows("mv dot vdot inner outer ger kron tensordot linalg_vecdot", Kind.PRODUCT, factors=BOTH_WAYS),
    *rows("linalg_multi_dot chain_matmul _trilinear", Kind.PRODUCT),
    *rows(
        "bilinear",
        Kind.PRODUCT,
        factors={0: (1, 2), 1: (0, 2), 2: (0, 1)},
        weight=Weight.OUT_FIRST,
        weight_at=2,
        bias_at=3,
    ),
    *rows("einsum", Kind.PRODUCT, multiplies_list=True),
    *rows("_weight_norm", Kind.NORMALIZATION, factors={0: (1,)}),
    *rows("_weight_norm_interface norm_except_dim renorm", Kind.NORMALIZATION, is_singular=True),
)
_CONVOLUTION = {"factors": BOTH_WAYS, "weight_at": 1, "bias_at": 2, "units": _CHANNELS}
_CONVOLUTIONS = (
    *rows("conv1d conv2d conv3d convolution _convolution", Kind.CONVOLUTION, weight=Weight.OUT_FIRST, **_CONVOLUTION),
    *rows("_convolution_mode", Kind.CONVOLUTION, weight=Weight.OUT_FIRST, **_CONVOLUTION),
    *rows("conv_transpose1d conv_transpose2d", Kind.CONVOLUTION, weight=Weight.IN_FIRST, **_CONVOLUTION),
    *rows("conv_transpose3d", Kind.CONVOLUTION, weight=Weight.IN_FIRST, **_CONVOLUTION),
    *rows("conv_tbc", Kind.CONVOLUTION, factors=BOTH_WAYS, weight_at=1, bias_at=2),
    *rows("im2col col2im", Kind.RESAMPLING),
)
_SCALE_AT_1 = {"factors": {0: (1,)}, "weight_at": 1, "bias_at": 2, "is_steep": True}
_SCALE_AT_2 = {"factors": {0: (2,)}, "weight_at": 2, "bias_at": 3, "is_steep": True}
_NORMALIZATIONS = (
    *rows("batch_norm native_batch_norm", Kind.NORMALIZATION, norm=Norm.BATCH, units=_CHANNELS, **_SCALE_AT_1),
    *rows("cudnn_batch_norm", Kind.NORMALIZATION, norm=Norm.BATCH, units=_CHANNELS, **_SCALE_AT_1),
    *rows("instance_norm", Kind.NORMALIZATION, norm=Norm.INSTANCE, units=_CHANNELS, **_SCALE_AT_1),
    *rows("group_norm", Kind.NORMALIZATION, norm=Norm.GROUP, units=_CHANNELS, **_SCALE_AT_2),
    *rows("native_group_norm", Kind.NORMALIZATION, norm=Norm.GROUP, units=_CHANNELS, **_SCALE_AT_1),
    *rows("layer_norm native_layer_norm", Kind.NORMALIZATION, norm=Norm.LAYER, units=_LAST, **_SCALE_AT_2),
    *rows(
        "rms_norm _fused_rms_norm",
        Kind.NORMALIZATION,
        norm=Norm.RMS,
        factors={0: (2,), 2: (0,)},
        weight_at=2,
        is_steep=True,
    ),
)
_SOFTMAXES = (
    *rows(
        "softmax _softmax special_softmax _safe_softmax _masked_softmax",
        Kind.SOFTMAX,
        formula=Formula.SOFTMAX,
        squash=Squash.SOFTMAX,
        range=(0.0, 1.0),
    ),
    *rows(
        "log_softmax _log_softmax special_log_softmax",
        Kind.SOFTMAX,
        squash=Squash.LOG_SOFTMAX,
        growth=Growth.SINKING,
        gives_logarithm=True,
        range=(-_INF, 0.0),
    ),
)
_RECURRENT = {"dropout": ("dropout", "train")}
_SEQUENCE = {**_RECURRENT, "gate_arguments": (0, 1, (2,)), "units": _LAST}
_CELL = {"is_cell": True, "gate_arguments": (0, 1, (2, 3, 4, 5))}
_LSTM = ("input gate", "forget gate", "cell", "output gate")
_GRU = ("reset gate", "update gate", "new state")
_STATE = ("state",)
_RECURRENCES = (
    *rows("lstm", Kind.RECURRENCE, weight=Weight.OUT_FIRST, gates=_LSTM, **_SEQUENCE),
    *rows("gru", Kind.RECURRENCE, weight=Weight.OUT_FIRST, gates=_GRU, **_SEQUENCE),
    *rows("rnn_tanh", Kind.RECURRENCE, gates=_STATE, **_SEQUENCE),
    *rows("rnn_relu", Kind.RECURRENCE, **_RECURRENT),
    *rows("lstm_cell", Kind.RECURRENCE, gates=_LSTM, **_CELL),
    *rows("gru_cell", Kind.RECURRENCE, gates=_GRU, **_CELL),
    *rows("rnn_tanh_cell", Kind.RECURRENCE, gates=_STATE, **_CELL),
    *rows("rnn_relu_cell", Kind.RECURRENCE, is_cell=True),
    *rows("glu", Kind.GATING, gates=("gate",)),
)
_ATTENTION = (
    *rows(
        "scaled_dot_product_attention",
        Kind.ATTENTION,
        factors={0: (1, 2), 1: (0, 2)},
        dropout=("dropout_p", ""),
    ),
    *rows("_native_multi_head_attention _transformer_encoder_layer_fwd", Kind.BLOCK),
    *rows("_transform_bias_rescale_qkv _scaled_dot_product_attention_math", Kind.BLOCK),
    *rows("_scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention", Kind.BLOCK),
)
_DROPOUTS = (
    *rows(
        "dropout feature_dropout alpha_dropout feature_alpha_dropout",
        Kind.DROPOUT,
        dropout=("p", "train"),
        may_return_argument=True,
    ),
    *rows("native_dropout", Kind.DROPOUT, dropout=("p", "train")),
)
_EMBEDDED = (
    *rows("embedding", Kind.EMBEDDING, weight_at=0, units=_LAST),
    *rows("embedding_bag _embedding_bag", Kind.EMBEDDING, weight_at=0),
)
_WINDOWS = (
    *rows("max_pool1d avg_pool1d adaptive_avg_pool1d", Kind.POOLING, units=Units.CHANNELS),
    *rows("max_pool2d max_pool3d avg_pool2d avg_pool3d adaptive_avg_pool2d adaptive_avg_pool3d", Kind.POOLING),
    *rows("adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool1d_with_indices", Kind.POOLING),
    *rows("max_pool2d_with_indices max_pool3d_with_indices fractional_max_pool2d", Kind.POOLING),
    *rows("fractional_max_pool3d max_unpool2d max_unpool3d", Kind.POOLING),
    *rows("pad constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d", Kind.RESAMPLING),
    *rows("replication_pad1d replication_pad2d replication_pad3d pixel_shuffle pixel_unshuffle", Kind.RESAMPLING),
    *rows("upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d", Kind.RESAMPLING),
    *rows("upsample_bilinear2d upsample_bicubic2d upsample_trilinear3d _upsample_bilinear2d_aa", Kind.RESAMPLING),
    *rows("_upsample_bicubic2d_aa _upsample_lanczos2d_aa _upsample_nearest_exact1d", Kind.RESAMPLING),
    *rows("_upsample_nearest_exact2d _upsample_nearest_exact3d __interpolate", Kind.RESAMPLING),
    *rows("grid_sampler grid_sampler_2d grid_sampler_3d affine_grid_generator", Kind.RESAMPLING),
)
ROWS = (
    *_PRODUCTS,
    *_CONVOLUTIONS,
    *_NORMALIZATIONS,
    *_SOFTMAXES,
    *_RECURRENCES,
    *_ATTENTION,
    *_DROPOUTS,
    *_EMBEDDED,
    *_WINDOWS,
)

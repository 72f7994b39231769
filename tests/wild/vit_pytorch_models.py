"""Image classifiers of vit-pytorch; most of them rearrange with einops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vit_pytorch import (
    SimpleViT,
    ViT,
    cait,
    cct,
    cross_vit,
    cvt,
    deepvit,
    levit,
    max_vit,
    mobile_vit,
    nest,
    parallel_vit,
    pit,
    regionvit,
    rvt,
    scalable_vit,
    simple_vit_1d,
    simple_vit_3d,
    t2t,
    twins_svt,
    vivit,
    xcit,
)

from wild.architecture import classifier, noise

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn


def traced(name: str, make: Callable[[], nn.Module], image: Callable[[], torch.Tensor]) -> None:
    """Registers a classifier; hardly any can be scripted."""
    classifier(name, make, image, form="trace")


SEEING: dict[str, Any] = {
    "image_size": 32,
    "patch_size": 8,
    "num_classes": 5,
    "dim": 48,
    "depth": 2,
    "heads": 4,
    "mlp_dim": 96,
}


traced("vit", lambda: ViT(**SEEING), noise(4, 3, 32, 32))
traced("simple", lambda: SimpleViT(**SEEING), noise(4, 3, 32, 32))
traced("deepvit", lambda: deepvit.DeepViT(**SEEING), noise(4, 3, 32, 32))
traced("parallel", lambda: parallel_vit.ViT(**SEEING, num_parallel_branches=2), noise(4, 3, 32, 32))
traced("rotary", lambda: rvt.RvT(**SEEING), noise(4, 3, 32, 32))
traced("cait", lambda: cait.CaiT(**SEEING, cls_depth=1), noise(4, 3, 32, 32))
traced(
    "cct",
    lambda: cct.CCT(
        img_size=32,
        embedding_dim=48,
        n_conv_layers=1,
        num_layers=2,
        num_heads=4,
        mlp_ratio=2.0,
        num_classes=5,
        positional_embedding="learnable",
    ),
    noise(4, 3, 32, 32),
)
traced(
    "cvt",
    lambda: cvt.CvT(
        num_classes=5,
        s1_emb_dim=16,
        s1_heads=1,
        s2_emb_dim=24,
        s2_heads=2,
        s2_depth=1,
        s3_emb_dim=32,
        s3_heads=2,
        s3_depth=1,
    ),
    noise(4, 3, 32, 32),
)
traced(
    "pit",
    lambda: pit.PiT(image_size=32, patch_size=4, dim=48, num_classes=5, depth=(1, 1), heads=4, mlp_dim=96),
    noise(4, 3, 32, 32),
)
traced(
    "t2t",
    lambda: t2t.T2TViT(dim=48, image_size=32, depth=2, heads=4, mlp_dim=96, num_classes=5, t2t_layers=((7, 4), (3, 2))),
    noise(4, 3, 32, 32),
)
traced(
    "nest",
    lambda: nest.NesT(
        image_size=32, patch_size=4, dim=24, heads=2, num_hierarchies=2, block_repeats=(1, 1), num_classes=5
    ),
    noise(4, 3, 32, 32),
)
traced(
    "levit",
    lambda: levit.LeViT(image_size=64, num_classes=5, stages=2, dim=(32, 48), depth=1, heads=(2, 3), mlp_mult=2),
    noise(4, 3, 64, 64),
)
traced(
    "cross",
    lambda: cross_vit.CrossViT(
        image_size=32,
        num_classes=5,
        depth=1,
        sm_dim=24,
        sm_patch_size=8,
        sm_enc_depth=1,
        sm_enc_heads=2,
        sm_enc_mlp_dim=48,
        lg_dim=32,
        lg_patch_size=16,
        lg_enc_depth=1,
        lg_enc_heads=2,
        lg_enc_mlp_dim=64,
        cross_attn_depth=1,
        cross_attn_heads=2,
    ),
    noise(4, 3, 32, 32),
)
traced(
    "twins",
    lambda: twins_svt.TwinsSVT(
        num_classes=5,
        s1_emb_dim=16,
        s1_patch_size=4,
        s1_local_patch_size=4,
        s1_global_k=4,
        s1_depth=1,
        s2_emb_dim=24,
        s2_patch_size=2,
        s2_local_patch_size=4,
        s2_global_k=4,
        s2_depth=1,
        s3_emb_dim=32,
        s3_patch_size=2,
        s3_local_patch_size=2,
        s3_global_k=2,
        s3_depth=1,
        s4_emb_dim=48,
        s4_patch_size=2,
        s4_local_patch_size=1,
        s4_global_k=1,
        s4_depth=1,
    ),
    noise(4, 3, 64, 64),
)
traced(
    "regionvit",
    lambda: regionvit.RegionViT(dim=(16, 24, 32, 48), depth=(1, 1, 1, 1), window_size=2, num_classes=5),
    noise(4, 3, 64, 64),
)
traced(
    "mobile",
    lambda: mobile_vit.MobileViT((64, 64), (24, 32, 40), (8, 8, 16, 16, 24, 24, 32, 32, 40, 40, 64), 5),
    noise(4, 3, 64, 64),
)
traced(
    "xcit",
    lambda: xcit.XCiT(
        image_size=32,
        patch_size=8,
        num_classes=5,
        dim=48,
        depth=1,
        cls_depth=1,
        heads=4,
        mlp_dim=96,
        local_patch_kernel_size=3,
    ),
    noise(4, 3, 32, 32),
)
traced(
    "scalable",
    lambda: scalable_vit.ScalableViT(
        num_classes=5,
        dim=16,
        heads=(1, 2, 2, 4),
        depth=(1, 1, 1, 1),
        ssa_dim_key=(8, 8, 8, 8),
        reduction_factor=(4, 2, 1, 1),
        window_size=(4, 2, None, None),
    ),
    noise(4, 3, 64, 64),
)
traced(
    "max",
    lambda: max_vit.MaxViT(num_classes=5, dim=16, depth=(1, 1), dim_head=8, window_size=4),
    noise(4, 3, 64, 64),
)
traced(
    "1d",
    lambda: simple_vit_1d.SimpleViT(seq_len=64, patch_size=8, num_classes=5, dim=48, depth=2, heads=4, mlp_dim=96),
    noise(4, 3, 64),
)
traced(
    "3d",
    lambda: simple_vit_3d.SimpleViT(
        image_size=32,
        image_patch_size=8,
        frames=4,
        frame_patch_size=2,
        num_classes=5,
        dim=48,
        depth=2,
        heads=4,
        mlp_dim=96,
    ),
    noise(2, 3, 4, 32, 32),
)
traced(
    "vivit",
    lambda: vivit.ViViT(
        image_size=32,
        frames=4,
        image_patch_size=8,
        frame_patch_size=2,
        num_classes=5,
        dim=48,
        spatial_depth=1,
        temporal_depth=1,
        heads=4,
        mlp_dim=96,
    ),
    noise(2, 3, 4, 32, 32),
)

"""Image classifiers of timm, one or more of a family."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import timm

from wild.architecture import classifier, noise

if TYPE_CHECKING:
    from zoo.case import Form


def image_classifier(name: str, size: int = 64, form: Form = "script", **options: Any) -> None:
    """Registers a model of timm by its name."""
    make = functools.partial(timm.create_model, name, pretrained=False, num_classes=5, **options)
    classifier(name, make, noise(4, 3, size, size), form=form)


# timm's own smallest forms of what it has.
for small in (
    "test_byobnet", "test_coatnet", "test_convnext", "test_convnext2", "test_convnext3", "test_efficientnet",
    "test_efficientnet_evos", "test_efficientnet_gn", "test_efficientnet_ln", "test_mambaout", "test_maxvit",
    "test_nfnet", "test_resnet", "test_vit", "test_vit2", "test_vit3", "test_vit4", "test_vit_relpos",
):  # fmt: skip
    image_classifier(small, size=160 if "vit" in small or "coatnet" in small else 64)

for common in (
    "convnext_atto", "convnextv2_atto", "densenet121", "dla46_c", "edgenext_xx_small", "efficientvit_b0",
    "ese_vovnet19b_slim", "fasternet_t0", "fbnetv3_b", "focalnet_tiny_srf", "gernet_s", "ghostnet_050", "hardcorenas_a",
    "hgnetv2_b0", "inception_next_atto", "lcnet_035", "legacy_seresnet18", "mambaout_femto",
    "mnasnet_small", "mobilenetv2_035", "mobilenetv3_small_050", "mobilenetv4_conv_small_035", "mobileone_s0",
    "poolformer_s12", "pvt_v2_b0", "regnetx_002", "regnety_002", "repvgg_a0", "repvit_m0_9", "res2net50_26w_4s",
    "resnest14d", "resnet10t", "resnet18d", "rexnet_100", "semnasnet_050", "shvit_s1", "skresnet18",
    "starnet_s1", "swiftformer_xs", "tinynet_e",
):  # fmt: skip
    image_classifier(common)

VIT: dict[str, Any] = {"img_size": 64, "depth": 3, "embed_dim": 48, "num_heads": 3}
image_classifier("vit_tiny_patch16_224", **VIT)
image_classifier("deit_tiny_distilled_patch16_224", **VIT)
image_classifier("deit3_small_patch16_224", **VIT)
image_classifier("beit_base_patch16_224", **VIT)
image_classifier("eva02_tiny_patch14_224", **(VIT | {"patch_size": 16}))
image_classifier("cait_xxs24_224", **VIT)
image_classifier("convit_tiny", **(VIT | {"embed_dim": 16}))
image_classifier("mixer_s16_224", img_size=64)
image_classifier("resmlp_12_224", img_size=64)
image_classifier("gmlp_ti16_224", img_size=64)
image_classifier(
    "swin_tiny_patch4_window7_224",
    img_size=64,
    window_size=4,
    embed_dim=24,
    depths=(1, 1, 2, 1),
    num_heads=(1, 2, 4, 8),
)
image_classifier(
    "swinv2_tiny_window8_256", img_size=64, window_size=4, embed_dim=24, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8)
)
image_classifier("xcit_nano_12_p16_224", img_size=64, depth=3)
image_classifier("coat_lite_tiny", img_size=64)
image_classifier("crossvit_tiny_240")
image_classifier("levit_128s", size=224)
image_classifier("pit_ti_224", size=224)
image_classifier("tnt_s_legacy_patch16_224", img_size=64, depth=3)
image_classifier("twins_svt_small", img_size=64)
image_classifier("volo_d1_224", img_size=64)
image_classifier("davit_tiny", depths=(1, 1, 1, 1), embed_dims=(24, 48, 96, 192), num_heads=(1, 2, 4, 8))
image_classifier("mvitv2_tiny", img_size=64)
image_classifier("hiera_tiny_224", form="trace", img_size=64)
image_classifier("hrnet_w18_small", form="trace")
image_classifier("selecsls42", form="trace")
image_classifier("fastvit_t8")
image_classifier("efficientformerv2_s0", size=224)
image_classifier("mobilevit_xxs")
image_classifier("mobilevitv2_050", form="trace")
image_classifier("gcvit_xxtiny", size=224)
image_classifier("tiny_vit_5m_224", size=224)
image_classifier("nest_tiny", img_size=64)
image_classifier("naflexvit_base_patch16_gap", form="trace", depth=3, embed_dim=48, num_heads=3)
image_classifier("botnet26t_256", size=256)
image_classifier("halonet26t", size=256)
image_classifier("visformer_tiny", img_size=64)

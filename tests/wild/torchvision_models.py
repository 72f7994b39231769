"""Architectures of torchvision and of segmentation-models-pytorch."""

from __future__ import annotations

import functools
from typing import Any

import segmentation_models_pytorch as smp
from torchvision import models
from torchvision.models import segmentation, video

from wild.architecture import classifier, noise, segmenter


def vision(name: str, size: int = 64, **options: Any) -> None:
    """A classifier of torchvision."""
    classifier(name, lambda: models.get_model(name, weights=None, num_classes=5, **options), noise(4, 3, size, size))


for each in (
    "resnet18",
    "resnext50_32x4d",
    "squeezenet1_1",
    "densenet121",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mnasnet0_5",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
    "swin_t",
    "swin_v2_t",
):
    vision(each)
vision("googlenet", aux_logits=False, init_weights=False)
vision("inception_v3", 96, aux_logits=False, init_weights=False)
vision("vit_b_16", image_size=64)
classifier("r3d_18", lambda: video.r3d_18(weights=None, num_classes=5), noise(2, 3, 4, 32, 32))
for make in (
    segmentation.fcn_resnet50,
    segmentation.deeplabv3_mobilenet_v3_large,
    segmentation.lraspp_mobilenet_v3_large,
):
    segmenter(
        make.__name__,
        functools.partial(make, weights=None, weights_backbone=None, num_classes=2),
        noise(4, 3, 64, 64),
        output="out",
    )
for title in (
    "Unet", "FPN", "PSPNet", "Linknet", "MAnet", "DeepLabV3Plus", "UPerNet", "Segformer",
):  # fmt: skip
    segmenter(
        f"smp_{title}",
        functools.partial(getattr(smp, title), "resnet18", encoder_weights=None, classes=2),
        noise(4, 3, 64, 64),
    )

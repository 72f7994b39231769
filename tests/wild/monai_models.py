"""Networks of MONAI for medical images."""

from __future__ import annotations

from typing import Any

import torch
from monai.networks import nets

from wild.architecture import classifier, noise, projected, segmenter

PLAIN = noise(4, 1, 32, 32)
PLANE: dict[str, Any] = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2}
WIDTHS: dict[str, Any] = {"channels": (8, 16, 32), "strides": (2, 2)}
segmenter("unet", lambda: nets.UNet(**PLANE, **WIDTHS, num_res_units=2), PLAIN)
segmenter(
    "unet_3d", lambda: nets.UNet(spatial_dims=3, in_channels=1, out_channels=2, **WIDTHS), noise(2, 1, 16, 16, 16)
)
segmenter("attention_unet", lambda: nets.AttentionUnet(**PLANE, **WIDTHS), PLAIN)
segmenter("basic_unet", lambda: nets.BasicUNet(**PLANE, features=(8, 8, 16, 16, 32, 8)), PLAIN)
segmenter(
    "basic_unet_plus_plus", lambda: nets.BasicUNetPlusPlus(**PLANE, features=(8, 8, 16, 16, 32, 8)), PLAIN, output="0"
)
segmenter(
    "dynunet",
    lambda: nets.DynUNet(
        **PLANE, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[8, 16, 32]
    ),
    PLAIN,
)
segmenter("segresnet", lambda: nets.SegResNet(**PLANE, init_filters=8, blocks_down=(1, 1, 1), blocks_up=(1, 1)), PLAIN)
segmenter("segresnet_ds", lambda: nets.SegResNetDS(**PLANE, init_filters=8, blocks_down=(1, 1, 1)), PLAIN)
segmenter("vnet", lambda: nets.VNet(**PLANE), PLAIN)
segmenter("highresnet", lambda: nets.HighResNet(**PLANE), PLAIN)
segmenter(
    "unetr",
    lambda: nets.UNETR(1, 2, img_size=32, feature_size=8, hidden_size=48, mlp_dim=96, num_heads=4, spatial_dims=2),
    PLAIN,
)
segmenter(
    "swin_unetr",
    lambda: nets.SwinUNETR(
        1, 2, feature_size=12, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4), spatial_dims=2, window_size=4
    ),
    noise(2, 1, 64, 64),
    form="trace",
)
segmenter(
    "flexible_unet",
    lambda: nets.FlexibleUNet(1, 2, "efficientnet-b0", decoder_channels=(32, 16, 8, 8, 8), spatial_dims=2),
    PLAIN,
)
segmenter("autoencoder", lambda: nets.AutoEncoder(**PLANE, channels=(8, 16), strides=(2, 2)), PLAIN)
segmenter(
    "mednext",
    lambda: nets.MedNeXt(
        **PLANE,
        init_filters=8,
        encoder_expansion_ratio=2,
        decoder_expansion_ratio=2,
        bottleneck_expansion_ratio=2,
        blocks_down=(1, 1),
        blocks_bottleneck=1,
        blocks_up=(1, 1),
    ),
    PLAIN,
    form="trace",
)
classifier("densenet", lambda: nets.DenseNet(2, 1, 5, init_features=8, growth_rate=4, block_config=(2, 2)), PLAIN)
classifier(
    "resnet",
    lambda: nets.ResNet("basic", [1, 1, 1, 1], [8, 8, 16, 16], spatial_dims=2, n_input_channels=1, num_classes=5),
    PLAIN,
)
classifier(
    "resnet_3d",
    lambda: nets.ResNet("bottleneck", [1, 1, 1, 1], [8, 8, 16, 16], spatial_dims=3, n_input_channels=1, num_classes=5),
    noise(4, 1, 32, 32, 32),
)
classifier(
    "senet",
    lambda: nets.SEResNet50(layers=(1, 1, 1, 1), spatial_dims=2, in_channels=1, num_classes=5),
    noise(4, 1, 64, 64),
)
classifier(
    "efficientnet",
    lambda: nets.EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=2, in_channels=1, num_classes=5),
    noise(2, 1, 64, 64),
)
classifier(
    "vit",
    lambda: nets.ViT(
        1,
        32,
        8,
        hidden_size=48,
        mlp_dim=96,
        num_layers=2,
        num_heads=4,
        classification=True,
        num_classes=5,
        spatial_dims=2,
        post_activation="",
    ),
    PLAIN,
    output="0",
)
classifier("classifier", lambda: nets.Classifier((1, 32, 32), 5, (8, 16), (2, 2)), PLAIN)
projected("regressor", lambda: nets.Regressor((1, 32, 32), (2,), (8, 16), (2, 2)), PLAIN)
projected("generator", lambda: nets.Generator((16,), (8, 4, 4), (8, 1), (2, 2)), noise(4, 16))
projected("discriminator", lambda: nets.Discriminator((1, 32, 32), (8, 16), (2, 2)), PLAIN)
projected("critic", lambda: nets.Critic((1, 32, 32), (8, 16), (2, 2)), PLAIN)
projected(
    "patch_discriminator",
    lambda: nets.PatchDiscriminator(2, 8, 1, num_layers_d=2),
    PLAIN,
    output="0",
)
projected("fully_connected", lambda: nets.FullyConnectedNet(16, 4, (32, 32)), noise(8, 16))
projected(
    "variational_autoencoder",
    lambda: nets.VarAutoEncoder(2, (1, 32, 32), 1, 4, (8, 16), (2, 2)),
    PLAIN,
)
projected(
    "vit_autoencoder",
    lambda: nets.ViTAutoEnc(1, 32, 4, hidden_size=48, mlp_dim=96, num_layers=2, num_heads=4, spatial_dims=2),
    PLAIN,
    form="trace",
)
projected(
    "autoencoder_kl",
    lambda: nets.AutoencoderKL(
        2,
        1,
        1,
        num_res_blocks=(1, 1),
        channels=(8, 16),
        attention_levels=(False, True),
        latent_channels=3,
        norm_num_groups=4,
    ),
    PLAIN,
    form="trace",
)
projected(
    "vqvae",
    lambda: nets.VQVAE(
        2,
        1,
        1,
        channels=(8, 16),
        num_res_channels=(8, 16),
        num_res_layers=1,
        downsample_parameters=((2, 4, 1, 1), (2, 4, 1, 1)),
        upsample_parameters=((2, 4, 1, 1, 0), (2, 4, 1, 1, 0)),
        num_embeddings=16,
        embedding_dim=8,
    ),
    PLAIN,
    form="trace",
)
projected(
    "diffusion_unet",
    lambda: nets.DiffusionModelUNet(
        2,
        1,
        1,
        num_res_blocks=(1, 1),
        channels=(8, 16),
        attention_levels=(False, True),
        norm_num_groups=4,
        num_head_channels=8,
    ),
    noise(4, 1, 16, 16),
    lambda: torch.arange(4),
    form="trace",
)
projected(
    "registration_unet",
    lambda: nets.RegUNet(2, 2, 8, 2),
    noise(4, 2, 32, 32),
)

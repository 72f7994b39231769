"""Architectures of packages in small configurations with random weights.

Importing this makes the packages importable that `make wild-ready` has installed in a folder of their own.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

PACKAGES = Path(__file__).parents[2] / "build" / "wild"

if not PACKAGES.is_dir():
    raise ModuleNotFoundError(
        f"{PACKAGES} is missing, which holds what the architectures are made with; run `make wild-ready`"
    )

sys.path.append(str(PACKAGES))

# torchvision's own library of operators is linked against CUDA and cannot be loaded beside a torch for the CPU; its
# import stops where these are not declared. No architecture here calls them.
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    OPERATORS.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

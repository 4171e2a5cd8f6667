"""anon: train face anonymizers, attack them, defend them, and judge all of it in one harness."""

from anon.torchvision_ops import declare_missing_operators

__version__ = "0.1.0"

declare_missing_operators()

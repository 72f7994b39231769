"""gradclinic: remote diagnosis for neural networks that do not learn."""

__version__ = "0.1.0"

"""The diagnosis engine: a model, a batch and a loss in, findings out."""

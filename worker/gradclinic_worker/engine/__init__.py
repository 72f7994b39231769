"""The engine: a request's files in, Measurements out."""

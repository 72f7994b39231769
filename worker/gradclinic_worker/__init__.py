"""DIAGNOSE: bytes in, diagnosis out."""

"""STORE: what lives in Redis and in the blob store."""

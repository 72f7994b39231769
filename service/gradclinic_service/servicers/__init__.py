"""SERVE: one file per gRPC service; each translates and delegates."""

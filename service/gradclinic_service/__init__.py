"""ACCEPT: gRPC in, queue out."""

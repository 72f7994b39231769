"""The TorchScript front end: bytes in, an instrumented program out; only this layer reads torch's graphs."""

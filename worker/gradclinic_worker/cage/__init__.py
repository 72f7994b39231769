"""The cage: what a process that runs a stranger's model gives up before it reads a byte of it."""

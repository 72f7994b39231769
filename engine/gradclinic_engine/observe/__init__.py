"""One run of a program under observation: forward, loss and backward, and what was measured."""

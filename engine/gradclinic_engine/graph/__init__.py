"""What is known about operators, without torch."""

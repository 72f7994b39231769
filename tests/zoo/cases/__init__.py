"""The models of the zoo; importing this registers them all."""

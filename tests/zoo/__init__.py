"""Healthy and faulty models, with what a diagnosis must say of each: `make zoo`."""

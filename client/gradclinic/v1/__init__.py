"""The wire contract, generated from proto/gradclinic/v1 by `make proto`; do not edit."""

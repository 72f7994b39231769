"""WATCH: what Prometheus reads of this process and of the fleet."""

"""A diagnosis as one self-contained HTML page: nothing is loaded, nothing is sent."""

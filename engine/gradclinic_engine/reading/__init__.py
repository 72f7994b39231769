"""What can be read off Measurements: paths of the flow, origins, kinds of operators. Pure functions; rules ask them."""

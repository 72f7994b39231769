"""VALIDATE: what a request must look like; pure functions that yield what is wrong with it."""

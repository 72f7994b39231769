"""The processes around the engine: main, queue, supervisor, zygote and single-use executors."""

"""How a face is redrawn: generators, their blocks and their discriminators."""

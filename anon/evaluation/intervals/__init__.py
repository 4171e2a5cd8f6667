"""95 % intervals of the figures, by resampling people."""

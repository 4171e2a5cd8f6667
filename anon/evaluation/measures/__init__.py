"""What is measured of a combination: each measure joins a context with metrics and the bootstrap (conf/measure)."""

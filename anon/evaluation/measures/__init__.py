"""What is measured of a combination: each measure joins a cell with metrics and the bootstrap (conf/measure)."""

"""The harness: protocol, embeddings, figures with intervals, tables and grids."""

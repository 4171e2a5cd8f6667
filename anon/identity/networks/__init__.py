"""Backbones of recognizers: normalized images in, raw embeddings out, with the state-dict names of their origin."""

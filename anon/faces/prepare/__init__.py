"""Photographs and videos to packed data sets: ``anon prepare``."""

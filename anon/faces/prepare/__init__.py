"""Photographs and videos to packed data sets: ``python -m anon.faces.prepare``."""

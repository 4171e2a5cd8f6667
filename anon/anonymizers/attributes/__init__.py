"""Anonymizers that change attributes which have names, and nothing else: private votes, and classes of a set."""

"""Data sets of videos, and of folders of their frames."""

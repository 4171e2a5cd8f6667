"""Frames in, frames out: decode, detect, track, redraw, paste back, judge, encode.

``python anonymize.py`` and ``anon.anonymize`` are built on it. It fails closed: a face that could not be changed, or
that a recognizer still finds, is covered by a filter; a file that cannot be finished is not written.
"""

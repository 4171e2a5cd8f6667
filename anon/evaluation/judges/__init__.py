"""Recognizers that judge: which may, whom they enrol, below which distance they accept."""

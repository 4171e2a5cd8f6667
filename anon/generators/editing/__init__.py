"""Generators that change attributes of a face that have names, and its critic."""

"""Generators that never see the face: they fill the hole where it was."""

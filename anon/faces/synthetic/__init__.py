"""The embedded default: identity-labelled procedural faces and clips with known pose, expression, gaze and light.

Identity and attributes are separate draws from separate seeds, so the same person can be shown at any attribute and the
same attribute on any person. ``python -m anon.faces.synthetic`` writes a contact sheet.
"""

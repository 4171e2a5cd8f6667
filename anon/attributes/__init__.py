"""What must stay when the identity goes: pose, expression, gaze, landmarks."""

"""Gaze from published networks: L2CS-like files, OpenVINO's gaze-estimation-adas-0002."""

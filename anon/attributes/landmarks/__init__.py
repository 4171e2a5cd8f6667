"""Dense landmarks from published networks: insightface's 1k3d68 and 2d106det, MediaPipe's FaceMesh."""

"""First-order motion: a picture moved as another clip moves, by keypoints and the affine motion around each."""

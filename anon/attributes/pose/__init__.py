"""Head pose from published networks: FSA-Net, 6DRepNet-like files."""

"""What people run: train and evaluate, run folders, checkpoints, exit codes."""

"""What a change is worth: torchmetrics classes, each with a functional twin."""

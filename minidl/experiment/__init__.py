"""What surrounds the training of a net: settings, the run and its record, checkpoints, the paper's tables."""

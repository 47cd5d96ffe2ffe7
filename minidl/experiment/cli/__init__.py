"""Command lines: their arguments, errors and output, and user-defined files."""

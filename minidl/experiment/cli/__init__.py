"""Command lines: their words, their errors, what they print, and user-defined files."""

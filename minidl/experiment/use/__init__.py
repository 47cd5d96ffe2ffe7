"""Saved nets in use: predictions for pictures, and files for other programs."""

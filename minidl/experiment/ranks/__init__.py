"""Ranks, the processes that share a command: how they start, which cores they use, and how they end."""

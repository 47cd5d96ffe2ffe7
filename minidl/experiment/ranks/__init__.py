"""Processes that share a command: how they were started, which cores they have, and how they end."""

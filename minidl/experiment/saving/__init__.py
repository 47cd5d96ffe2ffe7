"""What a run leaves behind and is continued from: its folder, its records and its checkpoint."""

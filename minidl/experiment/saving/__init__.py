"""What a run writes and resumes from: its folder, its records and its checkpoint."""

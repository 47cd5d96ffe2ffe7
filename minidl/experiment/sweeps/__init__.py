"""Many runs: comparisons of methods, the tables of the paper, and what their results say."""

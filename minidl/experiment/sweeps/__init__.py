"""Many runs: comparisons of methods, the tables of the paper, and their statistics."""

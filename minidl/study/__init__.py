"""Study tools: they show what each normalization does to weights, data, errors and gradients while a net trains."""

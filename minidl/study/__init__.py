"""The study of hook points: what every normalization does to weights, data, errors and gradients while a net trains."""

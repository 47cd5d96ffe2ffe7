"""Experiments: one run, from its options to its last epoch, and folders for everything around it.

The parts of a run, in order: options → settings → preparation (sources, then the net, its optimizer
and the trainer) → run (display, trainer, divergence) → pictures. The folders:

    cli/       command lines: their arguments, errors and output, and user-defined files
    saving/    what a run writes: folder, records, checkpoint; how to resume it
    sweeps/    many runs, each in its own process: comparisons of methods, the paper's tables
    ranks/     processes that share a command
    use/       saved nets: predictions, exports
"""

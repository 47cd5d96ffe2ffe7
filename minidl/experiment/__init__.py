"""What surrounds the training of a net: one run, from its options to its last epoch, and rooms for all else.

A run, in the order in which its parts are met: options → settings → preparation (sources, then the net, its optimizer
and the trainer) → run (display, trainer, divergence) → pictures. The rooms:

    cli/       command lines: their words, errors and output, and user-defined files
    saving/    what a run leaves behind: folder, records, checkpoint; what continues it
    sweeps/    many runs, each in a process of its own: comparisons of methods, the paper's tables
    ranks/     processes that share a command
    use/       saved nets: predictions, exports
"""

"""What surrounds the training of a net: options and settings, the run and its record, checkpoints, the paper's tables.

A run, in the order in which its parts are met: options → settings → preparation (sources, then the net, its optimizer
and the trainer) → run (display, records, checkpoint) → result and pictures. Many runs, each in a process of its own:
process_run. The rows of a table: reproduce_options → rows and budget → row_run → results (tables, ranks, plots).
Methods side by side: compare_options → comparison (method_run) → compare_display → compare_results (seeds, plots).
"""

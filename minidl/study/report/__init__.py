"""The report of runs: one page of HTML that opens from disk, with charts by Vega-Lite; see page.py."""

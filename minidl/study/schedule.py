"""Schedule of a trace: at which steps it looks at a net, and how closely."""

FIRST = (0, 1, 2, 5, 10, 20, 50)  # much is decided before step 100


def traced(step: int, every: int) -> bool:
    """Return whether a step (from 0) is looked at: the first ones of FIRST, and every ``every``-th."""
    return step in FIRST or step % every == 0


def detailed(step: int, every: int) -> bool:
    """Return whether a traced step is also looked at in detail, which costs more than a row.

    These are 0 and the 1-, 2-, 5-, 10-, 20-, 50-, …-fold of ``every``, a dozen in a long run, and do not depend on how
    long it will be.

    >>> [step for step in range(6000) if detailed(step, 50)]
    [0, 50, 100, 250, 500, 1000, 2500, 5000]
    """
    return step % every == 0 and str(step // every).rstrip("0") in ("", "1", "2", "5")

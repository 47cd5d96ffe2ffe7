"""Schedule of a trace: which steps are traced, and which of them in detail."""

FIRST = (0, 1, 2, 5, 10, 20, 50)  # much is decided before step 100


def traced(step: int, every: int) -> bool:
    """Return whether a step (from 0) is traced: those of FIRST, and every ``every``-th."""
    return step in FIRST or step % every == 0


def detailed(step: int, every: int) -> bool:
    """Return whether a traced step is also recorded in detail, which takes longer.

    These are 0 and ``every`` times 1, 2, 5, 10, 20, 50, …, a dozen in a long run; they do not depend on the length of
    the run.

    >>> [step for step in range(6000) if detailed(step, 50)]
    [0, 50, 100, 250, 500, 1000, 2500, 5000]
    """
    return step % every == 0 and str(step // every).rstrip("0") in ("", "1", "2", "5")

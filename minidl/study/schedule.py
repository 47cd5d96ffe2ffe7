"""Schedule of a trace: at which steps it looks at a net, and how closely."""

FIRST = (0, 1, 2, 5, 10, 20, 50)  # much is decided before step 100


def traced(step: int, every: int) -> bool:
    """Return whether a step (from 0) is looked at: the first ones of FIRST, and every ``every``-th."""
    return step in FIRST or step % every == 0


def detailed(step: int, every: int) -> bool:
    """Return whether a traced step is also looked at in detail, which costs more than a row.

    These are the first traced steps from 0, 1, 2, 5, 10, 20, 50, 100, 200, 500, … on: 12 in 5,000 steps, and three more
    in ten times as many. They do not depend on how long the run will be.

    >>> [step for step in range(1000) if detailed(step, 30)]
    [0, 1, 2, 5, 10, 20, 50, 120, 210, 510]
    """
    return traced(step, every) and not any(traced(earlier, every) for earlier in range(_series(step), step))


def _series(step: int) -> int:
    """Return the largest number of 0, 1, 2, 5, 10, 20, 50, … up to the step."""
    power = 10 ** (len(str(step)) - 1)
    return max((factor * power for factor in (1, 2, 5) if factor * power <= step), default=0)

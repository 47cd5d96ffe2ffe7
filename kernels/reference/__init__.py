"""The definition of every operation: its equation, then plain NumPy, to be read first and to judge the faster ones by.

It is a device of its own, "reference", that trains every net, slowly, and stops in a debugger at every line. As it is
written in array methods, it computes with CuPy's arrays as well.
"""


def about() -> str:
    """Say what computes."""
    return "the reference: every operation as its equation says, in plain NumPy; slow, made for reading and debugging"

"""The operations on a CPU, faster: what each computes is defined in the file of the same name in kernels/.

The innermost loops are NumPy's or compiled by Numba (loops.py). Nothing is taken from the definitions but shapes.
"""

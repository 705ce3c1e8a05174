"""The backward differentiation formulas of variable order, with and without a Jacobian matrix.

Imports the files of solvers beside this folder.
"""

"""The loss as a function of the flattened parameters, its derivatives, and the gradient flow on it.

Imports compilation and solvers.
"""

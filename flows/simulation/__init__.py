"""The integration of a gradient flow, from checked arguments to a trajectory on disk.

Imports landscapes, losses, solvers and solver choice.
"""

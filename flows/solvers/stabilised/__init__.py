"""Stabilised explicit (Chebyshev) methods and the spectral radius that they need.

Imports the files of solvers beside this folder.
"""

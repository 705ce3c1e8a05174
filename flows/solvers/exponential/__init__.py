"""Exponential Rosenbrock methods, with the φ-functions of a dense Jacobian or of Lanczos vectors.

Imports the files of solvers beside this folder.
"""

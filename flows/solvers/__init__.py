"""Solvers whose cost does not grow with the length of a plateau, as ordinary Diffrax solvers."""

"""Figures of the literature, reproduced and checked. Imports the other rooms of experiments."""

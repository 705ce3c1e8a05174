"""Figures: the only files that import matplotlib. Imports every other room of analysis."""

"""Closed forms of the literature, as functions of numbers, each with its equation and source.

Imports no other room of analysis.
"""

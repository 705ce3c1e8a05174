"""Closed forms of the literature, as functions of numbers. Imports no other room of analysis."""

"""Which solver a flow is integrated with, and when it changes to another.

Imports curvature, landscapes and solvers.
"""

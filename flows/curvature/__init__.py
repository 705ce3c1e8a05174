"""The structured Hessian of a squared error.

Imports landscapes and losses.
"""

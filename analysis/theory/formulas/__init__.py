"""Which closed forms apply to a given model and data, and what they predict. Imports closed_forms.

A formula is a function of a landscape under the decorator `formula`, and a line in `FORMULAS` of predictions.py.
"""

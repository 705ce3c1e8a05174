"""Programs: which calls are the same program, and compiled ones that outlive their process.

Imports models only.
"""

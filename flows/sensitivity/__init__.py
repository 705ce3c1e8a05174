"""Derivatives of the flow map and of first passage times of loss levels. Imports landscapes and simulation."""

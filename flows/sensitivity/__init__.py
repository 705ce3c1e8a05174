"""Derivatives of the flow map and of crossing times. Imports simulation."""

"""Synthetic data sets and small images. Imports no other room of experiments."""

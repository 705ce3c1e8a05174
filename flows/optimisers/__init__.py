"""Optimisers of discrete steps, run on the time axis of the flow. Imports landscapes, losses and simulation."""

"""The integration of a gradient flow, from checked arguments to a trajectory on disk. Imports the rooms of flows but
for sensitivity and optimisers.
"""

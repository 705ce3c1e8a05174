"""Hessian spectra, their ends and densities, blocks and inertia. Imports no other room of analysis."""

"""Effective width and the embedding of narrow networks in wide ones. Imports curvature."""

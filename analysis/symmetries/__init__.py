"""Symmetries of a model and the quantities that the flow conserves. Imports embeddings."""

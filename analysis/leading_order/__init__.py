"""The lowest-order forms of the loss along which degenerate saddles are left. Imports curvature and embeddings."""

"""Critical points: found, certified, named by kind. Imports curvature, embeddings, leading_order and symmetries."""

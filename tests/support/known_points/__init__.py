"""Critical points whose kind, order, index and nullity are known by hand or by exact arithmetic."""

"""Which closed forms apply to a given model and data, and what they predict. Imports closed_forms."""

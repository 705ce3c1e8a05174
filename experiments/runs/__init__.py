"""A run of an experiment: its record, and how it is written and read. Imports setups."""

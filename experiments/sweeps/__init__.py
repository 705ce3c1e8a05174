"""Many set-ups: configurations, cells, folders of cells, and what computes them. Imports runs and setups."""

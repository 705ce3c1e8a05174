"""Visits, effective widths and kinds along many flows. Imports visits and what lies below."""

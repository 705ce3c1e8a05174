"""Reports: one self-contained page for a flow and its itinerary."""

"""Which critical points a flow came near, when, and how it left them. Imports critical_points and what lies below."""

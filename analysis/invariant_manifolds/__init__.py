"""The manifolds of small effective width, and the flow's distance to them. Imports visits and what lies below."""

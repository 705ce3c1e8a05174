"""Quantities of the model as functions of time along a flow."""

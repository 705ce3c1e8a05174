"""Squared errors, their sufficient statistics, and population losses. Imports compilation and landscapes."""

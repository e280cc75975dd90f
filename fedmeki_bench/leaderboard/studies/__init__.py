"""Analyses that a board asks for in ``analysis:``: what its records say beyond its tables."""

"""A run from its specification to its record: what defines it, executing it, and sweeping a board."""

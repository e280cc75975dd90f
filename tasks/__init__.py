"""Clinical tasks, one module each."""

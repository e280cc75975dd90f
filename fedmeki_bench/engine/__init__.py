"""How the clients of a round are executed; the result never depends on it."""

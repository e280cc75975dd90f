"""Charts of a recovery room, hour by hour, and the question who is intubated again."""

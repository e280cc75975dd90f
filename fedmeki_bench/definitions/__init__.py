"""Tasks that are defined by a file and not by Python: what such a file may say, and the task that follows from it.

A cohort's card and a run's record hold the definition, so whoever has one of these has the task.
"""

"""The record a run leaves, and the folder of records."""

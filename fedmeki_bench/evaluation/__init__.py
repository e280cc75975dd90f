"""Metrics, bootstrap intervals and prediction files: what turns scores on the test split into numbers."""

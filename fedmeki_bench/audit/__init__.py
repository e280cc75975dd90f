"""Looks at prepared cohorts for what would make a number better than it should be.

The audit is no part of training or evaluation: it reads all splits, the test split too, but only ids, content hashes,
thumbnails and class counts, and nothing it finds can reach a model.
"""

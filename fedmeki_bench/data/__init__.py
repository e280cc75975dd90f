"""Cohorts: one dataset prepared for one task, on disk, with its splits, partitions and data card.

Importing this package loads nothing; take what is needed from its modules:

- :mod:`~fedmeki_bench.data.contract`: what a dataset preparer provides,
- :mod:`~fedmeki_bench.data.prepare.prepare`: raw release -> cohort,
- :mod:`~fedmeki_bench.data.cohort`: reading a cohort,
- :mod:`~fedmeki_bench.data.clients.partition`: which client holds which private samples,
- :mod:`~fedmeki_bench.data.sealed`: the test split, for the evaluation package only.
"""

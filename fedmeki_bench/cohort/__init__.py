"""Cohorts: one dataset prepared for one task, on disk, with its splits, partitions and data card.

Importing this package loads nothing; take what is needed from its modules:

- :mod:`~fedmeki_bench.cohort.dataset`: what a dataset preparer provides,
- :mod:`~fedmeki_bench.cohort.prepare`: raw release -> cohort,
- :mod:`~fedmeki_bench.cohort.format`: reading a cohort,
- :mod:`~fedmeki_bench.cohort.partitions`: dealing private samples to clients,
- :mod:`~fedmeki_bench.cohort.sealed`: the test split, for the evaluation package only.
"""

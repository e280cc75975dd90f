"""fedmeki-bench: a benchmark harness for federated medical knowledge injection.

Importing this package loads nothing heavy; plug-in authors import from :mod:`fedmeki_bench.api`.
"""

__version__ = "0.1.0"

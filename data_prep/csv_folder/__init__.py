"""A folder of your own: a table of samples in CSV, the files that it names, and at will a definition of the task."""

from .preparer import CsvFolder, CsvOptions

__all__ = ["CsvFolder", "CsvOptions"]

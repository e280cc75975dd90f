"""COVID-19 Radiography Database (COVQU): PNG chest X-rays in one folder per class."""

from .preparer import Covqu, CovquOptions

__all__ = ["Covqu", "CovquOptions"]

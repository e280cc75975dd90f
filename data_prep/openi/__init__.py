"""Indiana University chest X-ray collection (Open-i): reports in XML, each with its frontal and lateral picture."""

from .preparer import OpenI, OpenIOptions

__all__ = ["OpenI", "OpenIOptions"]

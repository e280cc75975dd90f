"""Dataset preparers, one module each: read an official release, or write a stand-in in the same layout."""

"""The built-in rules and stages, and the table of algorithms. The core finds them through entry points only."""

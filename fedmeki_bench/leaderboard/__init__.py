"""Boards, and the tables and figures built from the records that fill them."""

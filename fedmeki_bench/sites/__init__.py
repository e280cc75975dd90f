"""Clients that are not in the server's process: in other processes of this machine, or at hospitals."""

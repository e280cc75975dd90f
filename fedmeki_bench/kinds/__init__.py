"""Kinds of tasks: what a label is, how it is learnt, said in words, read back and scored.

Each kind is one object of the plug-in group ``fedmeki_bench.kinds``; nothing else in the code compares kinds by name.
"""

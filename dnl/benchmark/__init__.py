"""The benchmark: which games are run, how each is evaluated, where, and the table of results."""

"""The main job: which games, how each is evaluated, where, and the table of results."""

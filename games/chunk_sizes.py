"""How many bytes the simulators hold at a time.

Numbers count as double precision, so that chunks have the same size in single precision.
"""

NUMBER_BYTES = 8
# Of scores (games x profiles x actions x joint signals): 4 MiB are small enough for the caches of a
# CPU; on a GPU the bound only keeps memory finite.
SCORE_BYTES = {"cpu": 2**22, "cuda": 2**30}
PROFILE_BYTES = 2**23  # of the profiles of a payoff table
DRAW_BYTES = 2**24  # of uniform draws

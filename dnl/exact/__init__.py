"""Exact answers: optima and best responses with proven bounds.

Persuasion games. `best_response` is the best deviation of one sender. `deviation` states its
program, `tie_breaking` how the receiver breaks ties. `global_response` solves the program by column
generation over `posteriors`, `local_response` within a radius; `response_search` is their base.
Both close the gap by `branch_and_bound` over a `hull_relaxation` of the receiver's reaction;
`action_regions`, `local_search` and `lagrangian` improve policies and bounds on the way.
`recommendation` is the linear program of a planner; `optimal_persuasion` and `welfare_ceiling`
build on it. `full_revelation` needs no program.

Follower games. `commitment` is a single leader's best and worst decision, `pricing_gain` what
sellers can gain by another price.

`linear_program` solves all linear programs; no other module imports highspy. `status` says how a
computation ended, `tolerance` which gains do not count. A new exact program is one module here; if
it is public, `dnl/__init__.py` exports it.
"""

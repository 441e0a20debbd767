"""Exact answers: what a sender can gain at most, proven.

`problem` states the program of one deviating sender, `linear` solves linear programs and bounds
them safely, `hull` relaxes the receiver's reaction to one, `cell` fixes it, `signals` takes own
signals one by one, `exchange` improves policies by that, `branching` closes the gap, `local` and
`concavification` put these together within a radius and globally, `response` is the public face.
`parallel` spreads many such computations over cores.

Other games: `commitment` has a leader's best and worst decision, `pricing_gain` sellers' gains.
"""

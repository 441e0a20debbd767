"""Agreement: all senders reveal which cell of a partition contains the state.

The others reveal the cell whatever one sender does, so a deviating sender can only add information
within the cell. The profile is a global equilibrium if no sender gains by that in any cell. This is
a condition on each cell alone, which a linear program decides (the best recommendation within the
cell). We search for the partition of highest worth (welfare by default) into such cells by branch
and bound on linear programs over cells, and check a cell when a program chooses it. Where there are
too many sets of states, the candidates are small sets, sets that matter to the receiver and small
changes of known partitions.

With three or more senders a code can reveal more cells than there are signals: the last sender's
symbol is the sum of the others', so each symbol follows from the others (as in full revelation).
"""

from collections.abc import Iterable
from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor

from dnl.equilibria.division import questions
from dnl.equilibria.partitions import spread_evenly
from dnl.equilibria.search import Proposals, Search
from dnl.exact.linear_program import LinearProgram
from dnl.exact.tolerance import TOLERANCE
from dnl.exact.welfare_ceiling import planned
from games import PersuasionGame

MOST_CELLS = 10_000  # sets of states that are considered before any partition is known
PARTITIONS_TRIED = 60
PROGRAMS_PER_PARTITION = 60  # linear programs solved for one partition
INTEGRALITY = 1e-6  # a variable this close to 0 or 1 counts as an integer


def agreement(search: Search) -> Proposals:
    """Partitions in whose cells no sender wants to say more, in order of rising worth."""
    game = search.game
    if game.n_senders < 2 or game.n_signals < 2:
        return
    cells = Cells(search)
    most = game.n_signals ** (game.n_senders - 1)
    best = -float("inf")
    seen: set[frozenset[int]] = set()
    for _ in range(PARTITIONS_TRIED):
        yield None
        chosen = cells.partition(most)
        if chosen is None or chosen in seen:
            return
        seen.add(chosen)
        refused = [cell for cell in chosen if not cells.is_quiet(cell)]
        if search.budget.over:
            return
        worth = sum(float(cells.worth[cell]) for cell in chosen)
        if not refused and worth <= best + search.slack:
            return
        policies = revealed(game, cells.labels(chosen))
        yield policies if search.survives(policies.unsqueeze(0))[0] else None
        if refused:
            cells.refuse(refused)
        else:
            best = worth
            if cells.complete:
                return
        cells.add_near(chosen)


class Cells:
    """Sets of states as candidate cells, and whether a sender wants to say more there.

    Attributes:
        states: the `S'` states of positive probability.
        sets: `(C, S')` bool.
        worth: `(C,)`: what the receiver's action there is worth, times its probability; minus
            infinity where some sender is known to want to say more.
        complete: whether all sets of states are among them.
    """

    def __init__(self, search: Search) -> None:
        self.search, game = search, search.plain
        self.states = (game.prior > 0).nonzero().flatten()
        self.prior = game.prior[self.states]
        self.criteria = [table[self.states] for table in game.criteria]
        self.u = game.sender_utility[:, self.states]  # (N, S', A)
        n_states = len(self.states)
        size = total = 0
        while size < n_states and total + comb(n_states, size + 1) <= MOST_CELLS:
            size += 1
            total += comb(n_states, size)
        size = max(size, 1)
        self.complete = size == n_states
        groups = [
            set(group) for k in range(1, size + 1) for group in combinations(range(n_states), k)
        ]
        if not self.complete:
            groups.append(set(range(n_states)))
            for labels in questions(game):
                named = labels[self.states]
                groups += [set((named == k).nonzero().flatten().tolist()) for k in named.unique()]
        self.index: dict[frozenset[int], int] = {}
        self.sets = torch.zeros(0, n_states, dtype=torch.bool)
        self.worth = torch.zeros(0, dtype=torch.float64)
        self.quiet: dict[int, bool] = {}
        self._add(frozenset(group) for group in groups)

    def utilities(self, sets: Tensor) -> Tensor:
        """`(C, N)`: the senders' utilities in cells `(C, S')` bool, times their probability."""
        return self._values(sets)[0]

    def _values(self, sets: Tensor) -> tuple[Tensor, Tensor]:
        """The same utilities `(C, N)`, and the receiver's `(C,)`."""
        mass = sets.double() * self.prior
        scores = [mass @ table for table in self.criteria]
        action = self.search.plain.action_of(scores, mass.sum(1))  # (C,)
        senders = torch.stack([(mass @ u).gather(1, action[:, None])[:, 0] for u in self.u], 1)
        return senders, scores[0].gather(1, action[:, None])[:, 0]

    def _add(self, groups: Iterable[frozenset[int]]) -> None:
        """Add cells, of worth minus infinity where a sender gains by revealing one state."""
        new = [group for group in dict.fromkeys(groups) if group and group not in self.index]
        if not new:
            return
        self.index |= {group: len(self.index) + k for k, group in enumerate(new)}
        sets = torch.zeros(len(new), len(self.states), dtype=torch.bool)
        for row, group in zip(sets, new, strict=True):
            row[list(group)] = True
        alone = self.utilities(torch.eye(len(self.states), dtype=torch.bool))  # (S', N)
        ranges = self.search.game.payoff_range
        kept, worth = [], []
        for part in sets.split(self.search.budget.rows(64 * self.u.numel())):
            utility, receiver = self._values(part)
            limit = utility + TOLERANCE * ranges * (part.double() @ self.prior).unsqueeze(1)
            quiet = torch.ones(len(part), dtype=torch.bool)
            for state in range(len(self.states)):
                inside = part[:, state].nonzero().flatten()
                rest = part[inside]
                rest[:, state] = False
                split = self.utilities(rest) + alone[state]
                quiet[inside] &= (split <= limit[inside]).all(1)
                if self.search.budget.over:  # sets not considered by then are left out
                    self.search.cut = True
                    quiet[:] = False
                    break
            kept.append(part)
            values = self.search.ranking.combine(utility, receiver)
            worth.append(values.masked_fill(~quiet, -float("inf")))
        self.sets = torch.cat([self.sets, *kept])
        self.worth = torch.cat([self.worth, *worth])

    def partition(self, most: int) -> frozenset[int] | None:
        """A partition of high worth into at most `most` cells; None where none is found."""
        budget = self.search.budget
        open_ = self.worth.isfinite()
        index = open_.nonzero().flatten()
        if not len(index):
            return None
        sets = self.sets[index].numpy()
        worth = self.worth[index].numpy()
        spread = max(float(np.ptp(worth)), 1e-300)
        n_cells, n_states = sets.shape
        rows = np.concatenate([sets.T, np.ones((1, n_cells))]).astype(np.float64)
        program = LinearProgram(
            worth / spread,
            np.ones(n_cells),
            rows,
            np.concatenate([np.ones(n_states), np.zeros(1)]),
            np.concatenate([np.ones(n_states), np.full(1, float(min(most, n_states)))]),
        )
        best, highest = None, -float("inf")
        branches = [np.ones(n_cells)]  # upper bounds of the cells' variables
        for _ in range(PROGRAMS_PER_PARTITION):
            if not branches:
                break
            upper = branches.pop()
            program.set_upper(upper)
            point = program.solve(budget).point
            if point is None or worth @ point <= highest + self.search.slack:
                continue
            taken = point >= 1 - INTEGRALITY
            if (taken | (point <= INTEGRALITY)).all():
                best, highest = (
                    frozenset(index[torch.from_numpy(taken)].tolist()),
                    float(worth @ point),
                )
                continue
            # Branch on the largest fractional variable: first with its cell, then without.
            likeliest = int(np.where(taken, -1.0, point).argmax())
            rivals = (sets & sets[likeliest]).any(1)
            without = np.arange(n_cells) == likeliest
            branches += [np.where(out, 0.0, upper) for out in (without, rivals & ~without)]
        return best

    def is_quiet(self, cell: int) -> bool:
        """Whether no sender gains by any information within the cell, by linear programs."""
        if cell not in self.quiet:
            inside = self.sets[cell]
            mass = self.prior[inside].sum()
            game, states = self.search.plain, self.states[inside]
            u = game.sender_utility[:, states]
            alone = PersuasionGame(
                self.prior[inside] / mass, game.receiver_utility[states], u, 1, game.tie_break
            )
            present = self.utilities(inside[None])[0] / mass  # (N,)
            limit = present + 0.5 * TOLERANCE * game.payoff_range
            self.quiet[cell] = all(
                self._bound(alone, n, float(limit[n])) for n in range(game.n_senders)
            )
        return self.quiet[cell]

    def _bound(self, game: PersuasionGame, sender: int, limit: float) -> bool:
        u = game.sender_utility[sender]
        return planned(game, u.numpy(), self.search.budget) <= limit

    def refuse(self, cells: list[int]) -> None:
        """Remove the cells for good."""
        self.worth[cells] = -float("inf")

    def add_near(self, chosen: frozenset[int]) -> None:
        """Add the cells made from a partition by joining two cells or moving one state."""
        if self.complete:
            return
        groups = [frozenset(self.sets[cell].nonzero().flatten().tolist()) for cell in chosen]
        near = [a | b for a, b in combinations(groups, 2)]
        for group in groups:
            near += [group - {state} for state in group]
            near += [group | {state} for state in range(len(self.states))]
        self._add(near)

    def labels(self, chosen: frozenset[int]) -> Tensor:
        """`(S,)`: the number of each state's cell; 0 where a state never happens."""
        labels = torch.zeros(self.search.game.n_states, dtype=torch.int64)
        for number, cell in enumerate(sorted(chosen)):
            labels[self.states[self.sets[cell]]] = number
        return labels


def revealed(game: PersuasionGame, labels: Tensor) -> Tensor:
    """Profile `(N, S, M)` that reveals the cell of each state even if one sender deviates.

    `labels (S,)` number the cells. All senders send the cell, spread over all signals, where there
    are enough signals; else a code.
    """
    n_senders, n_signals = game.n_senders, game.n_signals
    if labels.max() < n_signals:
        return torch.stack([spread_evenly(labels, n_signals)] * n_senders)
    symbols = [labels // n_signals**place % n_signals for place in range(n_senders - 1)]
    symbols.append(torch.stack(symbols).sum(0) % n_signals)
    return torch.nn.functional.one_hot(torch.stack(symbols), n_signals).double()

"""Export of discretised persuasion games to Gambit, to check equilibria independently.

If each sender chooses from finitely many policies, the senders play a game in strategic form. This
module tabulates it, lists its pure equilibria and writes it as a Gambit .nfg file (payoff version;
"Game representation formats" in Gambit's documentation). A *global* equilibrium whose policies are
on the grid is an equilibrium of the table. An equilibrium of the table need not be one of the game:
a policy off the grid may gain. The table has `P**N` cells, so use it for tiny games only.

Shapes: `N` senders, `S` states, `M` signals, `P` policies of a sender.
"""

import io
import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, pairwise
from pathlib import Path

import torch
from torch import Tensor

from games import PersuasionGame, checks
from games.checks import Array
from games.chunk_sizes import NUMBER_BYTES, PROFILE_BYTES
from games.files import write_text

MAX_ENTRIES = 2**24  # of a grid of policies or of a payoff table: 128 MiB in float64
DIGITS = 12  # written after the leading digit of a sender's largest utility


def grid_policies(n_states: int, n_signals: int, steps: int = 1) -> Tensor:
    """All policies whose entries are multiples of `1 / steps`; the pure ones for `steps=1`.

    Returns:
        `(P, S, M)` float64, `P = comb(steps + M - 1, steps)**S`. State 0 varies slowest; rows with
        more weight on earlier signals come first: the S digits, in base M, of a pure policy's
        number are the signals it sends.

    Raises:
        ValueError: for a size below 1, or a grid of more than `MAX_ENTRIES` entries.
    """
    checks.positive_integer("n_states", n_states)
    checks.positive_integer("n_signals", n_signals)
    checks.positive_integer("steps", steps)
    # In logarithms: the number itself may be too long to compute.
    log_rows = math.lgamma(steps + n_signals) - math.lgamma(steps + 1) - math.lgamma(n_signals)
    entries = (n_states * log_rows + math.log(n_states * n_signals)) / math.log(10)
    if entries > math.log10(MAX_ENTRIES) + 1e-6:
        sizes = f"n_states={n_states}, n_signals={n_signals}, steps={steps}: 10**{entries:.1f}"
        raise ValueError(f"policies may have at most {MAX_ENTRIES} entries, got {sizes}")
    # A row is `steps` units in M bins: the M - 1 bars among the units tell the bins apart.
    length = steps + n_signals - 1
    bars = [(-1, *at, length) for at in combinations(range(length), n_signals - 1)]
    units = [[right - left - 1 for left, right in pairwise(at)] for at in reversed(bars)]
    rows = torch.tensor(units, dtype=torch.float64) / steps  # (R, M)
    places = torch.tensor([len(rows) ** state for state in reversed(range(n_states))])
    return rows[torch.arange(len(rows) ** n_states).unsqueeze(1) // places % len(rows)]


def payoff_table(game: PersuasionGame, strategies: Array | Sequence[Array]) -> Tensor:
    """The senders' ex-ante utilities at every profile of the given policies.

    `strategies` are one array `(P, S, M)`, common to all senders, or a list or tuple of one
    `(P_n, S, M)` per sender. Returns `(P_0, ..., P_{N-1}, N)` in the dtype and on the device of the
    first ones.

    Raises:
        ValueError: if these are no policies of the game, or more than `MAX_ENTRIES` payoffs.
    """
    checks.instance("game", game, PersuasionGame)
    n, s, m = game.n_senders, game.n_states, game.n_signals
    if isinstance(strategies, list | tuple):
        if len(strategies) != n:
            raise ValueError(
                f"strategies must be an array, or one for each of {n} senders, "
                f"got {len(strategies)}: {checks.shown(strategies)}"
            )
        own = [checks.as_tensor("strategies", policies) for policies in strategies]
    else:
        own = [checks.as_tensor("strategies", strategies)] * n
    for policies in own:
        if policies.ndim != 3 or not len(policies) or policies.shape[1:] != (s, m):
            raise checks.shape_error("strategies", "(P, S, M)", ("P >= 1", s, m), policies)
        checks.distributions("strategies", policies)
    sizes = tuple(len(policies) for policies in own)
    if math.prod(sizes) * n > MAX_ENTRIES:
        shape = " x ".join(map(str, (*sizes, n)))
        raise ValueError(f"the payoff table may have at most {MAX_ENTRIES} entries, got {shape}")

    table = own[0].new_empty(math.prod(sizes), n)
    for cells in torch.arange(len(table)).split(
        max(1, PROFILE_BYTES // (NUMBER_BYTES * n * s * m))
    ):
        picks = zip(own, torch.unravel_index(cells, sizes), strict=True)
        profiles = torch.stack([policies.detach().to(table)[pick] for policies, pick in picks], 1)
        table[cells] = game.ex_ante_utility(profiles)  # (b, N, S, M) -> (b, N)
    return table.view(*sizes, n)


def pure_equilibria(table: Array, tolerance: float = 0.0) -> list[tuple[int, ...]]:
    """Cells of a payoff table at which no sender gains by another of its strategies.

    Args:
        table: `(P_0, ..., P_{N-1}, N)`, as `payoff_table` gives it.
        tolerance: gains up to this, in the table's units, do not count. At 0 rounding decides.

    Returns:
        The senders' strategy indices, one tuple per equilibrium, in lexicographic order.

    Raises:
        ValueError: if `table` is no finite table of that shape or `tolerance` is negative.

    Example:
        >>> prisoners_dilemma = torch.tensor([[[2.0, 2.0], [0.0, 3.0]], [[3.0, 0.0], [1.0, 1.0]]])
        >>> pure_equilibria(prisoners_dilemma)
        [(1, 1)]
    """
    tolerance = checks.positive_number("tolerance", tolerance, allow_zero=True)
    table = checks.as_tensor("table", table)
    shape = tuple(table.shape)
    if len(shape) < 2 or shape[-1] != len(shape) - 1 or 0 in shape:
        raise ValueError(f"table must be an array (P_0, ..., P_N-1, N), none 0, got {shape}")
    if not torch.isfinite(table).all():
        raise ValueError(f"table must be finite, got {checks.shown(table[~torch.isfinite(table)])}")
    stable = torch.ones(table.shape[:-1], dtype=torch.bool, device=table.device)
    for sender, payoff in enumerate(table.unbind(-1)):
        stable &= payoff.amax(sender, keepdim=True) - payoff <= tolerance
    return [tuple(profile) for profile in stable.nonzero().tolist()]


def save_nfg(game: PersuasionGame, path: str | Path, steps: int = 1) -> None:
    """Write `game`, restricted to `grid_policies(S, M, steps)`, as a Gambit strategic-form file.

    Players are the game's `sender_names`, or "Sender 0", "Sender 1", ...; their strategies come in
    the order of `grid_policies`, labelled state by state with the signal sent ("0,1") or, for
    `steps` above 1, the signals' probabilities ("1/2 1/2, 0 1"). The labels have the names of
    states and signals where the game has any ("rain: stay, sun: go", "rain: 1/2 stay 1/2 go,
    sun: 1 go"). Payoffs are decimals, rounded to 1e-12 of the sender's largest absolute utility:
    Gambit compares them exactly, and would otherwise take the rounding of equal payoffs for a
    profitable deviation.

    Raises:
        ValueError: for `steps` below 1, or more than `MAX_ENTRIES` entries of policies or payoffs.
        OSError: if the file cannot be written.
    """
    checks.instance("game", game, PersuasionGame)
    strategies = grid_policies(game.n_states, game.n_signals, steps)
    table = payoff_table(game.to("cpu"), strategies)
    labels = " ".join(_quoted(_label(game, rows, steps)) for rows in strategies.tolist())
    names = game.sender_names or [f"Sender {sender}" for sender in range(game.n_senders)]
    players = " ".join(map(_quoted, names))
    title = _quoted(f"{game!r} {game.identity} in steps of 1/{steps}")
    largest = game.sender_utility.abs().amax((1, 2)).tolist()
    places = [max(0, DIGITS - math.floor(math.log10(top))) if top else 0 for top in largest]
    order = (*reversed(range(game.n_senders)), -1)  # the first player's strategy fastest
    file = io.StringIO()
    file.write(f"NFG 1 R {title}\n{{ {players} }}\n")
    file.write("{\n" + f"{{ {labels} }}\n" * game.n_senders + '}\n""\n\n')
    for payoffs in table.permute(order).flatten(0, -2):
        # Fixed notation: not every reader of this format knows exponents.
        file.write(" ".join(map("{:.{}f}".format, payoffs.tolist(), places)) + "\n")
    write_text(path, file.getvalue())


def _label(game: PersuasionGame, rows: list[list[float]], steps: int) -> str:
    """What a policy `(S, M)` does, state by state, in the game's names where it has them."""
    signals = game.signal_names
    sent = []
    for row in rows:
        shares = [str(Fraction(round(x * steps), steps)) for x in row]
        if steps == 1:
            sent.append(str(shares.index("1")) if signals is None else signals[shares.index("1")])
        elif signals is None:
            sent.append(" ".join(shares))
        else:
            used = zip(shares, signals, strict=True)
            sent.append(" ".join(f"{share} {name}" for share, name in used if share != "0"))
    if game.state_names is not None:
        sent = [f"{state}: {does}" for state, does in zip(game.state_names, sent, strict=True)]
    bare = steps == 1 and signals is None and game.state_names is None
    return ("," if bare else ", ").join(sent)


def _quoted(text: str) -> str:
    """`text` as a label that Gambit reads: single spaces, no backslash but before a quote."""
    escaped = " ".join(text.split()).replace("\\", "/").replace('"', '\\"')
    return f'"{escaped}"'

"""The numbers of a benchmark's summary and figures, which both take from here.

A *good* row has status "ok". A *network* is a surrogate's name; a *series* is a network or one of
the names `FULL`, `NONE`, `STARTS`, `BEST_START`, `MEAN_START`, which count once per game however
many networks ran on it. Sampled deviations refute a profile or do not; not refuted certifies
nothing. The best end point of a network is the one of largest welfare among those not refuted, so a
game may have none. Outcomes are therefore compared in the games of `compared` only: the same games
for every series.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import pandas as pd
from scipy.special import stdtrit

from dnl.benchmark.rows import KEYS, RESULTS
from dnl.reporting import palette
from dnl.runtime.records import RUN, program_of
from dnl.runtime.tables import read_table

FULL, NONE, STARTS = "full revelation", "no information", "random starts"
BEST_START, MEAN_START = "best random start", "mean random start"
GAME = list(KEYS[:-1])  # the columns that tell one game from another: all keys but the surrogate
SIZE = ["n_signals", "n_states", "n_actions"]

_PREFIXES = {MEAN_START: "start", FULL: "fr", NONE: "ni"}  # series -> prefix of its columns
_TEXTS = ["law", "surrogate", "status"]
_NUMBERS = [*GAME[1:], "mse", "unexplained", "radius", "starts", "not_refuted"]
_NUMBERS += ["starts_not_refuted", "best_start_welfare"]
_NUMBERS += [f"{prefix}_welfare" for prefix in ("best", *_PREFIXES.values())]
_PER_SENDER = [f"{prefix}_utility" for prefix in ("best", *_PREFIXES.values())]


def read_results(folder: Path | str) -> pd.DataFrame:
    """All rows of `folder/results.csv`, failed ones included.

    Raises FileNotFoundError if there is no such file, which says what is there instead, and
    ValueError, which names the file, if it is no table, lacks columns, holds something other than
    numbers in some, or has no row of status "ok".
    """
    path = Path(folder) / RESULTS
    if not path.exists():
        raise FileNotFoundError(f"folder must hold the {RESULTS} of a benchmark, {_instead(path)}")
    table = read_table(path, [*_TEXTS, "commit", "game"])
    if table.empty:
        raise ValueError(f"{path} holds no rows")
    _check(path, table, _NUMBERS, [*_TEXTS, "constant"])
    good = table[table["status"] == "ok"]
    if good.empty:
        raise ValueError(f"{path}: none of its {len(table)} rows has status 'ok'")
    senders = range(int(good["n_senders"].max()))
    columns = [f"{name}_{n}" for name in ["payoff_range", *_PER_SENDER] for n in senders]
    _check(path, table, columns, [])
    return table.assign(constant=constant(table))


def _instead(path: Path) -> str:
    """What there is in place of the missing table `path`, and what to do."""
    folder, got = path.parent, f"got {str(path.parent)!r}"
    if folder.name == RESULTS and folder.is_file():
        return f"{got}: that is the file itself; its folder is {str(folder.parent)!r}"
    if not folder.is_dir():
        there = [other.parent for other in folder.parent.glob(f"*/{RESULTS}")]
        names = get_close_matches(folder.name, [other.name for other in there], n=1)
        hint = f"; did you mean {str(folder.parent / names[0])!r}?" if names else ""
        return f"{got}: there is no such folder{hint}"
    below = sorted(str(other.parent) for other in folder.glob(f"*/{RESULTS}"))
    if below:
        return f"{got} without it; did you mean one of {', '.join(below)}?"
    program = program_of(folder) if (folder / RUN).exists() else None
    if program is None:
        return f"{got} without it"
    redraw = f"; python -m experiments.redraw {folder} draws its figures again"
    return f"{got} of {program}{redraw * program.startswith('experiments.')}"


def _check(path: Path, table: pd.DataFrame, numbers: list[str], others: Sequence[str]) -> None:
    missing = [column for column in [*others, *numbers] if column not in table]
    if missing:
        raise ValueError(f"{path} lacks the columns {', '.join(missing)}")
    text = [column for column in numbers if not pd.api.types.is_numeric_dtype(table[column])]
    if text:
        raise ValueError(f"{path} holds something other than numbers in {', '.join(text)}")


def constant(rows: pd.DataFrame) -> pd.Series:
    """Whether the utilities of each row's game are constant: then a fit's error says nothing."""
    # The blanks of failed rows leave a column of mixed types.
    return rows["constant"].astype(str) == "True"


def mean_and_interval(table: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Mean of column `value` over the rows of equal `by`, in the unit of `value`.

    Returns the columns `by`, `mean`, `half_width` (of the 95 % Student-t interval of the mean; NaN
    below three values: for two it would be 12.7 standard errors to either side) and `count`. NaN
    values are left out; nothing else: mean NaN, count 0.
    """
    result = table.groupby(list(by))[value].agg(["mean", "std", "count"]).reset_index()
    freedom = (result["count"] - 1).where(result["count"] >= 3).astype(float)
    result["half_width"] = stdtrit(freedom, 0.975) * result["std"] / result["count"] ** 0.5
    return result[[*by, "mean", "half_width", "count"]]


def fit_errors(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Good `rows` of games whose utilities are not constant, with the columns `series` and `value`.

    `value` is "mse" (squared units of utility) or "unexplained" (fraction of the variance), of a
    network in a game, on average over senders.
    """
    shown = rows[~constant(rows)]
    return shown.assign(series=shown["surrogate"], value=shown[value])


def compared(rows: pd.DataFrame) -> pd.DataFrame:
    """The good `rows` of the games in which all series of `outcomes` have a value.

    These are the games in which every network has an end point, and the random starts a profile,
    that sampled deviations do not refute. A series that has none in any game of `rows` is left out
    of this comparison, or no game would remain. `rows` are of one law and number of senders.
    """
    games = rows.drop_duplicates(GAME).set_index(GAME)
    values = rows.pivot(index=GAME, columns="surrogate", values="best_welfare")
    values[BEST_START] = games["best_start_welfare"]
    kept = values.dropna(axis="columns", how="all").notna().all(axis="columns")
    return rows[pd.MultiIndex.from_frame(rows[GAME]).isin(kept.index[kept])]


def outcomes(rows: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """Good `rows` in long form, for the `quantity` "welfare", "utility_0", ... in raw units.

    Returns the columns of `rows`, `series` and `value`: per network and game the best end point not
    refuted (NaN where there is none), and per game `MEAN_START` (mean over all random starts),
    `FULL`, `NONE` and, for the welfare, `BEST_START` (the best random start not refuted).
    """
    games = rows.drop_duplicates(GAME)
    parts = [rows.assign(series=rows["surrogate"], value=rows[f"best_{quantity}"])]
    columns = {series: f"{prefix}_{quantity}" for series, prefix in _PREFIXES.items()}
    if quantity == "welfare" and games["best_start_welfare"].notna().any():
        columns[BEST_START] = "best_start_welfare"
    parts += [games.assign(series=name, value=games[column]) for name, column in columns.items()]
    return pd.concat(parts, ignore_index=True)


def welfare_gains(rows: pd.DataFrame) -> pd.DataFrame:
    """Welfare less that of full revelation in the same game, in raw units of utility.

    The columns are those of `outcomes`, without the series `FULL`, and for the games of `compared`.
    """
    long = outcomes(compared(rows), "welfare")
    long = long[long["series"] != FULL]
    return long.assign(value=long["value"] - long["fr_welfare"])


def above_full_revelation(rows: pd.DataFrame) -> pd.DataFrame:
    """Utilities less those of full revelation in the same game, as fractions of payoff ranges.

    Returns the columns `series`, `x` ("sender 0", ..., "welfare") and `value`, for the games of
    `compared`: of a sender, by its payoff range; of the welfare, by the sum of these ranges. NaN
    where a network has no end point or the range is 0.
    """
    senders = range(int(rows["n_senders"].iloc[0]))
    ranges = [f"payoff_range_{n}" for n in senders]
    groups = [(f"sender {n}", f"utility_{n}", [ranges[n]]) for n in senders]
    parts, games = [], compared(rows)
    for x, quantity, scale in [*groups, ("welfare", "welfare", ranges)]:
        long = outcomes(games, quantity)
        long = long[~long["series"].isin([FULL, BEST_START])]
        span = long[scale].sum(axis=1)
        value = (long["value"] - long[f"fr_{quantity}"]) / span.where(span > 0)
        parts.append(pd.DataFrame({"series": long["series"], "x": x, "value": value}))
    return pd.concat(parts, ignore_index=True)


def pass_percentages(rows: pd.DataFrame) -> pd.DataFrame:
    """Percentage not refuted, of the end points of each network and game and of the random starts
    of each game (`STARTS`): the columns of good `rows`, `series` and `value`."""
    games = rows.drop_duplicates(GAME)
    ends = rows.assign(series=rows["surrogate"], value=100 * rows["not_refuted"] / rows["starts"])
    value = 100 * games["starts_not_refuted"] / games["starts"]
    return pd.concat([ends, games.assign(series=STARTS, value=value)], ignore_index=True)


def slack(rows: pd.DataFrame) -> pd.Series:
    """Differences of welfare below this are rounding, as all are if utilities are constant."""
    ranges = [column for column in rows if str(column).startswith("payoff_range_")]
    return 1e-6 * rows[ranges].sum(axis=1)


def games_compared(rows: pd.DataFrame) -> str:
    """A sentence that says in which games of good `rows` outcomes are compared, and in how many."""
    games = rows.drop_duplicates(GAME)
    counts = rows[rows["best_welfare"].notna()].groupby("surrogate").size().to_dict()
    starts = int(games["best_start_welfare"].notna().sum())
    styles = palette.styles(rows["surrogate"])
    found = [f"{style.label} {counts[name]}" for name, style in styles.items() if name in counts]
    none = [style.label for name, style in styles.items() if name not in counts]
    number = len(compared(rows).drop_duplicates(GAME))
    text = f"Compared in {number} of {len(games)} games"
    if found:
        found += [f"random starts {starts}"] * (starts > 0)
        text += f", where all have a profile not refuted (games with one: {', '.join(found)})"
    elif starts:
        text += ", where a random start is not refuted"
    return text + f". None in any game: {', '.join(none)}" * bool(none)


def verdict(rows: pd.DataFrame) -> str:
    """What a reader of good `rows` must be told, "" if nothing: that every end point was refuted,
    or whose end points are refuted no less often than the random starts of the same games."""
    # Counts, not percentages, so that rounding cannot break a tie.
    sums = rows.groupby("surrogate", sort=False)[["not_refuted", "starts_not_refuted"]].sum()
    means = mean_and_interval(pass_percentages(rows), ["series"], "value")
    shares = means.set_index("series")["mean"] / 100
    if not sums["not_refuted"].any():
        return (
            "Every end point of every network was refuted "
            f"({percent(shares[STARTS])} of the random starts were not)"
        )
    some = sums["starts_not_refuted"] > 0
    worse = sums[some & (sums["starts_not_refuted"] >= sums["not_refuted"])]
    styles = palette.styles(worse.index)
    named = ", ".join(f"{style.label} ({percent(shares[name])})" for name, style in styles.items())
    starts = f"Random starts ({percent(shares[STARTS])} not refuted)"
    return f"{starts} do no worse than the end points of {named}" if named else ""


def percent(share: float) -> str:
    """A share as text: "24.8 %"."""
    return f"{100 * share:.1f} %"


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 game", "2 games"."""
    return f"{number} {noun}{'s' * (number != 1)}"

"""The summary that a benchmark prints at its end: the numbers of its figures, in words."""

import pandas as pd

from dnl.reporting import palette
from dnl.reporting.benchmark_numbers import (
    BEST_START,
    GAME,
    MEAN_START,
    NONE,
    STARTS,
    compared,
    constant,
    counted,
    fit_errors,
    games_compared,
    mean_and_interval,
    pass_percentages,
    percent,
    slack,
    verdict,
    welfare_gains,
)
from dnl.reporting.text_tables import paragraph

_NOTE = "FR: full revelation. NI: no information. Not refuted: by sampled deviations."


def summarise(table: pd.DataFrame) -> str:
    """Tables per law and number of senders, with plain sentences about what failed.

    Args:
        table: rows as in `results.csv`.

    Returns:
        Text: how well each network fits (games of constant utilities left out); the share of its
        end points that sampled deviations did not refute, in how many games there is one, the
        welfare of the best one above full revelation, on average over the games where all compared
        have one, and in how many games it is above full revelation; then what exact verification
        says, and which rows failed.
    """
    parts = []
    good = table[table["status"] == "ok"]
    for (law, _), rows in good.groupby(["law", "n_senders"], sort=False):
        games = rows.drop_duplicates(GAME)
        senders, radius = int(games["n_senders"].iloc[0]), games["radius"].iloc[0]
        parts.append(
            f"\n{law} law, {counted(senders, 'sender')}, {counted(len(games), 'game')}, "
            f"radius {radius:g}\n\n{_fits(rows)}\n\n{_found(rows)}"
        )
        level = compared(rows).drop_duplicates(GAME)["fr_welfare"].mean()
        known = f" FR has mean welfare {level:.3f} there." * (not pd.isna(level))
        parts.append(paragraph(f"{games_compared(rows)}.{known}"))
        parts += [paragraph(f"{told}.")] if (told := verdict(rows)) else []
        parts += _certificates(rows)
    if parts:
        parts.append(f"\n{_NOTE}")
    failed = table[table["status"] != "ok"]
    if len(failed):
        errors = "; ".join(sorted(set(failed["error"].astype(str))))
        parts.append(f"\n{counted(len(failed), 'row')} failed: {errors}")
    return "\n".join(parts)


def _fits(rows: pd.DataFrame) -> str:
    errors = {name: _means(fit_errors(rows, name)) for name in ("mse", "unexplained")}
    lines = [
        {
            "network": style.label,
            "parameters": f"{own['parameter_count'].mean():,.0f}",
            "error (MSE)": _number(errors["mse"].get(name), ".4g"),
            "unexplained": _number(errors["unexplained"].get(name), ".3f"),
            "fit s/game": f"{own['fit_seconds'].mean():.1f}",
        }
        for name, style, own in _networks(rows)
    ]
    left_out = len(rows[constant(rows)].drop_duplicates(GAME))
    text = f"\nErrors leave out the games of constant utilities: {left_out}."
    return pd.DataFrame(lines).to_string(index=False) + text * (left_out > 0)


def _found(rows: pd.DataFrame) -> str:
    """The table of `pass_percentages` and `welfare_gains`: networks and what they compare with."""
    games = rows.drop_duplicates(GAME)
    shares, gains = _means(pass_percentages(rows)), _means(welfare_gains(rows))
    kinds = [(name, name, own, "best_welfare") for name, _, own in _networks(rows)]
    kinds.append((STARTS, BEST_START, games, "best_start_welfare"))
    lines = []
    for name, best, own, column in kinds:
        gain = own[column] - own["fr_welfare"]
        lines.append(
            {
                "": palette.style(name).label,
                "not refuted": percent(shares[name] / 100),
                "games with one": f"{gain.count()}/{len(own)}",
                "welfare - FR": _number(gains.get(best), "+.3f"),
                "above FR": f"{int((gain > slack(own)).sum())}/{len(own)}",
            }
        )
    for name in (MEAN_START, NONE):
        lines.append(
            {"": palette.style(name).label, "welfare - FR": _number(gains.get(name), "+.3f")}
        )
    return pd.DataFrame(lines).fillna("").to_string(index=False)


def _networks(rows: pd.DataFrame) -> list[tuple[str, palette.Style, pd.DataFrame]]:
    """The networks of `rows` in the palette's order: name, style and rows of each."""
    styles = palette.styles(rows["surrogate"])
    return [(name, style, rows[rows["surrogate"] == name]) for name, style in styles.items()]


def _means(long: pd.DataFrame) -> dict[str, float]:
    """The mean of every series, as the figures draw it."""
    means = mean_and_interval(long, ["series"], "value")
    return dict(zip(means["series"], means["mean"], strict=True))


def _number(value: float | None, form: str) -> str:
    return "-" if value is None or pd.isna(value) else format(value, form)


def _certificates(rows: pd.DataFrame) -> list[str]:
    """What exact verification adds to the sampled one; nothing for tables without it."""
    if "certified" not in rows or rows["certified"].isna().all():
        return []
    games = rows.drop_duplicates(GAME)
    lines = []
    for name, own in [*((name, own) for name, _, own in _networks(rows)), (STARTS, games)]:
        random = name == STARTS
        kept = own["starts_not_refuted" if random else "not_refuted"].sum()
        certified = own["starts_certified" if random else "certified"].sum()
        undecided = own["starts_undecided" if random else "undecided"].sum()
        best = own["certified_start_welfare" if random else "certified_welfare"]
        finished = own["finished_start_welfare" if random else "finished_welfare"]
        above = own[["fr_welfare", "ni_welfare"]].max(axis=1) + slack(own)
        lines.append(
            {
                "": palette.style(name).label,
                "certified": percent(certified / own["starts"].sum()),
                "refuted by exact search only": int(kept - certified - undecided),
                "undecided": int(undecided),
                "best above FR and NI": f"{int((best > above).sum())}/{len(own)}",
                "after best responses": f"{int((finished > above).sum())}/{len(own)}",
            }
        )
    heading = "\nExact verification of the profiles not refuted\n"
    return [heading + pd.DataFrame(lines).to_string(index=False)]

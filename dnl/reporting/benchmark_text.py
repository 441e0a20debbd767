"""The summary that a benchmark prints at its end."""

import pandas as pd


def summarise(table: pd.DataFrame) -> str:
    """Tables per law and number of senders, with plain sentences about what failed.

    Args:
        table: rows as in `results.csv`.

    Returns:
        Text: for each surrogate the mean error (raw, and as unexplained variance without constant
        games), the share of end points that verification did not refute, the number of games with
        at least one such end point, and their mean welfare above full revelation.
    """
    parts = []
    ok = table[table["status"] == "ok"]
    for (law, n_senders), games in ok.groupby(["law", "n_senders"], sort=False):
        lines = [_line(str(name), rows) for name, rows in games.groupby("surrogate", sort=False)]
        one = games.drop_duplicates("game")
        constant = int(one["constant"].astype(bool).sum())
        starts = one["starts_not_refuted"].sum() / one["starts"].sum()
        parts.append(
            f"\n{law} law, {n_senders} senders, {len(one)} games"
            + (f" ({constant} constant, not in the unexplained variance)" if constant else "")
            + f", radius {games['radius'].iloc[0]:g}\n"
            + pd.DataFrame(lines).to_string(index=False)
            + f"\nmean welfare: full revelation {one['fr_welfare'].mean():.3f}, no information "
            f"{one['ni_welfare'].mean():.3f}, random starts {one['start_welfare'].mean():.3f}; "
            f"{starts:.1%} of random starts are not refuted"
        )
        parts += _findings(games, starts)
        parts += _certificates(games, one)
        beats = int((one["best_start_welfare"] > one["fr_welfare"] + _slack(one)).sum())
        parts.append(f"The best random start not refuted is above FR in {beats}/{len(one)} games.")
    failed = table[table["status"] != "ok"]
    if len(failed):
        errors = "; ".join(sorted(set(failed["error"].astype(str))))
        parts.append(f"\n{len(failed)} rows failed: {errors}")
    return "\n".join(parts)


def _line(surrogate: str, rows: pd.DataFrame) -> dict[str, str]:
    passed = rows[rows["not_refuted"] > 0]
    gain = (passed["best_welfare"] - passed["fr_welfare"]).mean()
    beats = (passed["best_welfare"] > passed["fr_welfare"] + _slack(passed)).sum()
    return {
        "surrogate": surrogate,
        "parameters": f"{rows['parameter_count'].mean():,.0f}",
        "error (MSE)": f"{rows['mse'].mean():.4g}",
        "unexplained": _number(rows["unexplained"].mean(), ".3f"),
        "fit s/game": f"{rows['fit_seconds'].mean():.1f}",
        "end points not refuted": f"{rows['not_refuted'].sum() / rows['starts'].sum():.1%}",
        "games with one": f"{len(passed)}/{len(rows)}",
        "best welfare - FR": _number(gain, "+.3f"),
        "above FR": f"{beats}/{len(rows)}",
    }


def _slack(rows: pd.DataFrame) -> pd.Series:
    """Differences of welfare below this are rounding, as all are if utilities are constant."""
    ranges = [column for column in rows if str(column).startswith("payoff_range_")]
    return 1e-6 * rows[ranges].sum(axis=1)


def _number(value: float, form: str) -> str:
    return "-" if pd.isna(value) else format(value, form)


def _findings(games: pd.DataFrame, starts: float) -> list[str]:
    findings = []
    if not games["not_refuted"].any():
        findings.append("NOTHING PASSED: every end point of every surrogate was refuted.")
    for name, rows in games.groupby("surrogate", sort=False):
        share = rows["not_refuted"].sum() / rows["starts"].sum()
        if 0 < share <= starts:
            findings.append(
                f"Random starts pass as often as the end points on {name} ({starts:.1%} against "
                f"{share:.1%}): passing proves nothing here."
            )
    return findings


def _certificates(games: pd.DataFrame, one: pd.DataFrame) -> list[str]:
    """What exact verification adds to the sampled one; nothing for tables without it."""
    if "certified" not in games or games["certified"].isna().all():
        return []
    lines = []
    for name, rows in [*games.groupby("surrogate", sort=False), ("random starts", one)]:
        random = name == "random starts"
        passed = rows["starts_not_refuted" if random else "not_refuted"].sum()
        certified = rows["starts_certified" if random else "certified"].sum()
        undecided = rows["starts_undecided" if random else "undecided"].sum()
        best = rows["certified_start_welfare" if random else "certified_welfare"]
        finished = rows["finished_start_welfare" if random else "finished_welfare"]
        above = rows[["fr_welfare", "ni_welfare"]].max(axis=1) + _slack(rows)
        lines.append(
            {
                "": name,
                "certified": f"{certified / rows['starts'].sum():.1%}",
                "passed sampling, refuted exactly": int(passed - certified - undecided),
                "undecided": int(undecided),
                "games above FR and NI": f"{int((best > above).sum())}/{len(rows)}",
                "above, finished": f"{int((finished > above).sum())}/{len(rows)}",
            }
        )
    return ["\nexact verification\n" + pd.DataFrame(lines).to_string(index=False)]

"""Read numbers and labels back from figures, and the stored tables that they are drawn from."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from dnl.runtime.tables import read_table

RESULTS = Path(__file__).parents[2] / "results"


def table(name: str) -> pd.DataFrame:
    """A stored table."""
    return read_table(RESULTS / name)


def legend_of(figure: Figure) -> list[str]:
    """All entries of the figure's legends."""
    parts = [figure, *figure.subfigs, *figure.axes]
    legends = [legend for part in parts for legend in getattr(part, "legends", [])]
    legends += [axes.get_legend() for axes in figure.axes if axes.get_legend() is not None]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def dots(axes: Axes) -> list[np.ndarray]:
    """The points of each scatter of a panel, `(B, 2)`."""
    return [np.asarray(collection.get_offsets()) for collection in axes.collections]


def texts(axes: Axes) -> list[str]:
    """All texts in a panel."""
    return [text.get_text() for text in axes.texts]


def line(axes: Axes, label: str) -> np.ndarray:
    """The points of the labelled line of a panel, or of the labelled means with intervals."""
    found = {str(drawn.get_label()): drawn for drawn in axes.lines}
    for container in axes.containers:
        found[str(container.get_label())] = container[0]
    return np.asarray(found[label].get_xydata())


def half_widths(axes: Axes, label: str) -> list[float]:
    """Half the lengths of the intervals of the labelled means."""
    (bars,) = [c for c in axes.containers if c.get_label() == label]
    return [(s[1][1] - s[0][1]) / 2 for s in bars[2][0].get_segments()]


def interval(values: pd.Series) -> float:
    """Half the 95 % Student-t interval of a mean, in plain steps."""
    n = len(values)
    deviation = (sum((value - values.mean()) ** 2 for value in values) / (n - 1)) ** 0.5
    return float(student_t.ppf(0.975, n - 1) * deviation / n**0.5)

"""Write matplotlib figures to files, whole or not at all and whatever MPLBACKEND says.

Matplotlib cannot be imported if the environment variable MPLBACKEND names an unknown backend. A
process started from a notebook inherits the notebook's, which need not be installed here. Figures
of this library need no backend.
"""

import io
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from games.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_figure(path: Path, figure: "Figure", dpi: int = 150) -> None:
    """Write a PNG, whole or not at all.

    Warns once of all characters that the font lacks, and says what helps.
    """
    data = io.BytesIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(data, format="png", dpi=dpi)
    lacking = False
    for one in caught:
        if "missing from font" in str(one.message):
            lacking = True
        else:
            warnings.warn(str(one.message), one.category, stacklevel=2)
    if lacking:
        message = (
            f"{path.name} shows boxes in place of characters that its font lacks: set "
            "matplotlib's font.family to a font that has them, and draw again"
        )
        warnings.warn(message, stacklevel=2)
    write_bytes(path, data.getvalue())


def forget_unusable_backend() -> None:
    """Unset MPLBACKEND if it names a backend that matplotlib does not know."""
    name = os.environ.get("MPLBACKEND")
    if not name or "matplotlib" in sys.modules:
        return
    del os.environ["MPLBACKEND"]
    import matplotlib  # here: only if the variable is set

    try:
        matplotlib.rcParams["backend"] = name  # as matplotlib does itself
    except ValueError:
        return
    os.environ["MPLBACKEND"] = name

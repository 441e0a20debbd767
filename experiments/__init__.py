"""One script per figure or table of the paper; each has a small mode."""

import dnl  # noqa: F401  # first: from here on, Ctrl-C is one line

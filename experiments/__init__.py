"""One script per figure or table of the paper; each has a small mode."""

"""Text and figures about equilibria and benchmarks."""

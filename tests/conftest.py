"""Settings of the whole test run."""

import torch

# Most tensors here are tiny; threads that wait for one another would take longer than the work.
torch.set_num_threads(1)

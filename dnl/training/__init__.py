"""Training of stacks of networks, through Lightning."""

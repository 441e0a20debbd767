"""Choose a device and describe its hardware."""

import os
import platform

import torch

from games.checks import shown


def pick_device(name: str = "auto") -> torch.device:
    """The device `name`; `"auto"` is the first CUDA GPU if there is one, and else the CPU.

    Raises:
        ValueError: if this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    wanted = f"device must be 'auto', 'cpu' or 'cuda[:index]', got {shown(name)}"
    if not isinstance(name, str):
        raise ValueError(wanted)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(wanted) from error
    if device.type not in ("cpu", "cuda"):
        raise ValueError(wanted)
    if device.type == "cuda":
        index = device.index or 0
        if index >= torch.cuda.device_count():
            raise ValueError(
                f"device {name!r} does not exist: {torch.cuda.device_count()} CUDA devices here"
            )
        device = torch.device("cuda", index)
    return device


def describe_hardware(device: torch.device) -> str:
    """The GPU's name, or the CPU's architecture and number of usable cores, in one line."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return f"{platform.machine()} CPU, {cores} cores"

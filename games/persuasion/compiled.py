"""Outcome distributions in machine code, for large jobs on machines with a C++ compiler.

`outcomes.cpp` is built by the machine's C++ compiler for one number of states and actions, in a
third of a second, and kept for the life of the process. It finds the receiver's action at a joint
signal as soon as the scores are known, in registers, and adds the outcome to the sums. So it stores
no score, action or joint posterior.
`games.persuasion.simulation` has the same rule in tensors, which is used everywhere else: for small
jobs, for gradients, on other devices and wherever building or loading fails. Tests prove the two
equal.

(`torch.compile` was tried first: 15 to 25 seconds to build, and at N = 4, (10, 10, 10) in double
precision about 1.3 times as fast as the tensors, whose sums over joint signals stay products of
matrices that are mostly zeros.)
"""

import ctypes
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

# Multiplications for the scores, `G * B * M**N * S * A`, from which a build pays: at N = 4 and
# (10, 10, 10), 1,074 profiles, which take the tensors as long as the build. It depends on the call
# alone, so that the same call always gives the same bits.
MIN_MULTIPLICATIONS = 2**30
MAX_TABLE_ENTRIES = 4096  # S * A: tables are kept on the stack

SOURCE = Path(__file__).with_name("outcomes.cpp")
TYPES = {torch.float64: ("double", "int64_t"), torch.float32: ("float", "int32_t")}

# (left, right, tables, slacks) -> (G, B, S, A), shapes as in `games.persuasion.simulation.Receiver`
Kernel = Callable[[Tensor, Tensor, Sequence[Tensor], Sequence[Tensor]], Tensor]


def kernel(policies: Tensor, n_actions: int, criteria: int) -> Kernel | None:
    """The compiled simulation for `policies (G, B, N, S, M)`, or None where it does not pay.

    Args:
        policies: what is simulated.
        n_actions: `A`.
        criteria: how many tables a receiver looks at.
    """
    n_games, n_profiles, n_senders, n_states, n_signals = policies.shape
    multiplications = n_games * n_profiles * n_signals**n_senders * n_states * n_actions
    if (
        multiplications < MIN_MULTIPLICATIONS
        or policies.device.type != "cpu"
        or n_states * n_actions > MAX_TABLE_ENTRIES
        or (policies.requires_grad and torch.is_grad_enabled())
    ):
        return None
    return build(policies.dtype, n_states, n_actions, criteria)


@cache
def build(dtype: torch.dtype, n_states: int, n_actions: int, criteria: int) -> Kernel | None:
    """The compiled simulation for these sizes; None if there is no compiler or it fails."""
    compiler = shlex.split(
        os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or ""
    )
    if not compiler:
        return None
    number, integer = TYPES[dtype]
    sizes = {"NUMBER": number, "INTEGER": integer, "S": n_states, "A": n_actions}
    defines = [f"-D{name}={value}" for name, value in (sizes | {"CRITERIA": criteria}).items()]
    flags = ["-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-w"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = Path(folder) / "outcomes.so"
        command = [*compiler, *flags, *defines, str(SOURCE), "-o", str(library)]
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=60)
            function = ctypes.CDLL(str(library)).outcomes
        except (OSError, subprocess.SubprocessError):
            return None
    function.argtypes = [ctypes.c_int64] * 5 + [ctypes.c_void_p] * 5

    def run(
        left: Tensor, right: Tensor, tables: Sequence[Tensor], slacks: Sequence[Tensor]
    ) -> Tensor:
        n_games, n_profiles, n_left, _ = left.shape
        arrays = [
            left.mT.contiguous(),  # (G, B, S, L), as it comes
            right.mT.contiguous(),  # (G, B, S, R)
            torch.stack(list(tables), 1).mT.contiguous(),  # (G, criteria, A, S)
            torch.stack(list(slacks), 1),  # (G, criteria)
            left.new_empty(n_games, n_profiles, n_states, n_actions),
        ]
        pointers = [array.data_ptr() for array in arrays]

        def part(start: int) -> int:
            end = min(start + step, n_games * n_profiles)
            return function(start, end, n_profiles, n_left, right.shape[2], *pointers)

        threads = torch.get_num_threads()
        step = -(-n_games * n_profiles // threads)
        with ThreadPoolExecutor(threads) as pool:  # the interpreter's lock is not held in there
            failed = any(pool.map(part, range(0, n_games * n_profiles, max(step, 1))))
        if failed:
            raise MemoryError("not enough memory for the scratch space of a simulation")
        return arrays[-1]

    return run

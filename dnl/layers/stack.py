"""Many networks of one architecture, evaluated as one module."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

STACKABLE = (nn.ModuleList, nn.ReLU, nn.Sequential)  # of torch's


class NetworkStack(nn.Module):
    """`V` networks of one architecture, evaluated as one batch.

    Any module will do: `torch.vmap` maps over what it does. Networks made of `dnl.layers.Linear`,
    `EmittedLinear` and what acts on every unit by itself do without, which spares most of a small
    one's time: their layers take parameters `(V, ...)` and inputs `(V, B, F)`. A class says so by
    an attribute `stackable` of its own; that of a base class does not count.

    Args:
        networks: at least one; all with the same parameter names and shapes.

    Parameters and buffers are copies, stacked along a first axis `V`.

    Attributes:
        template: a network without values. What its modules hold besides parameters and buffers,
            such as a temperature, holds for the whole stack and may be set there.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(networks))
        # Names with dots cannot be attributes; "/" stands for them.
        self.stacked = nn.ParameterDict(
            {
                name.replace(".", "/"): nn.Parameter(value, requires_grad=name in parameters)
                for name, value in (parameters | buffers).items()
            }
        )
        # Only its structure is used. In a list, so that its parameters are not registered.
        self._template = [deepcopy(networks[0]).to("meta")]

    @property
    def template(self) -> nn.Module:
        """See the class."""
        return self._template[0]

    @cached_property
    def _without_vmap(self) -> bool:
        return all(map(_is_stackable, self.template.modules()))

    def __len__(self) -> int:
        return len(next(iter(self.stacked.values())))

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return next(iter(self.stacked.values())).dtype

    def forward(self, x: Tensor) -> Tensor:
        """`(V, B, F)`, or `(B, F)` for the same input to all, to `(V, B, out)`; dtype of `x`."""
        parameters = {name.replace("/", "."): p.to(x) for name, p in self.stacked.items()}
        if self._without_vmap:
            own = x.expand(len(self), -1, -1) if x.ndim == 2 else x
            if own.ndim != 3 or len(own) != len(self):
                raise ValueError(
                    f"x must have shape ({len(self)}, B, F) or (B, F), got {tuple(x.shape)}"
                )
            together: Tensor = functional_call(self.template, parameters, (own,), tie_weights=False)
            return together

        def one(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
            output: Tensor = functional_call(self.template, parameters, (x,))
            return output

        result: Tensor = vmap(one, in_dims=(0, 0 if x.ndim == 3 else None))(parameters, x)
        return result

    def select(self, rows: slice) -> "NetworkStack":
        """The networks of `rows` as a stack of their own (copied, no gradient history)."""
        part = NetworkStack.__new__(NetworkStack)
        nn.Module.__init__(part)
        part.stacked = nn.ParameterDict(
            {
                name: nn.Parameter(p.detach()[rows].clone(), requires_grad=p.requires_grad)
                for name, p in self.stacked.items()
            }
        )
        part._template = [deepcopy(self.template)]
        return part

    def network(self, index: int) -> nn.Module:
        """One of the networks, with a copy of its values."""
        device = next(iter(self.stacked.values())).device
        network = deepcopy(self.template).to(self.dtype).to_empty(device=device)
        values = {name.replace("/", "."): p.detach()[index] for name, p in self.stacked.items()}
        network.load_state_dict(values)
        return network

    def set_network(self, index: int, network: nn.Module) -> None:
        """Write the values of `network` over those of one of the stack's."""
        with torch.no_grad():
            for name, value in network.state_dict().items():
                self.stacked[name.replace(".", "/")][index] = value


def _is_stackable(module: nn.Module) -> bool:
    """Whether the first axis of a module's parameters and inputs may be one of many networks."""
    if module._forward_hooks or module._forward_pre_hooks:  # nobody knows what they do
        return False
    return "stackable" in vars(type(module)) or type(module) in STACKABLE


def concatenate(stacks: Sequence[NetworkStack]) -> NetworkStack:
    """Stacks of one architecture as one."""
    whole = stacks[0].select(slice(None))
    for name, first in list(whole.stacked.items()):
        together = torch.cat([stack.stacked[name].detach() for stack in stacks])
        whole.stacked[name] = nn.Parameter(together, requires_grad=first.requires_grad)
    return whole

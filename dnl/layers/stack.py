"""Many networks of one architecture, evaluated as one module."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from dnl.layers import shapes
from games import checks

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
        _check_alike(networks)
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
        shapes.floating("x", x)
        if x.ndim not in (2, 3) or (x.ndim == 3 and len(x) != len(self)):
            raise ValueError(
                f"x must have shape ({len(self)}, B, F) or (B, F), got {tuple(x.shape)}"
            )
        parameters = {name.replace("/", "."): p.to(x) for name, p in self.stacked.items()}
        if self._without_vmap:
            own = x.expand(len(self), -1, -1) if x.ndim == 2 else x
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
        self._check_index(index)
        device = next(iter(self.stacked.values())).device
        network = deepcopy(self.template).to(self.dtype).to_empty(device=device)
        values = {name.replace("/", "."): p.detach()[index] for name, p in self.stacked.items()}
        network.load_state_dict(values)
        return network

    def set_network(self, index: int, network: nn.Module) -> None:
        """Write the values of `network` over those of one of the stack's."""
        self._check_index(index)
        _check_alike([self.template, network])
        with torch.no_grad():
            for name, value in network.state_dict().items():
                self.stacked[name.replace(".", "/")][index] = value

    def _check_index(self, index: int) -> None:
        checks.positive_integer("index", index, least=0)
        if index >= len(self):
            raise ValueError(
                f"index must be below the number of networks, {len(self)}, got {index}"
            )


def _check_alike(networks: Sequence[nn.Module]) -> None:
    """Raise unless these are networks whose values have the same names and shapes, at least one."""
    if not isinstance(networks, Sequence | nn.ModuleList) or not len(networks):
        raise ValueError(
            f"networks must be a sequence of at least one network, got {checks.shown(networks)}"
        )
    for network in networks:
        checks.instance("each of networks", network, nn.Module)
    first, *others = [
        (type(network), {name: tuple(value.shape) for name, value in network.state_dict().items()})
        for network in networks
    ]
    if not first[1]:
        raise ValueError(f"networks must have values, got {checks.shown(networks[0])}")
    for other in others:
        if other != first:
            got = f"{first[0].__name__} {first[1]} and {other[0].__name__} {other[1]}"
            raise ValueError(f"networks must be of one class and shape, got {got}")


def _is_stackable(module: nn.Module) -> bool:
    """Whether the first axis of a module's parameters and inputs may be one of many networks."""
    if module._forward_hooks or module._forward_pre_hooks:  # nobody knows what they do
        return False
    return "stackable" in vars(type(module)) or type(module) in STACKABLE


def concatenate(stacks: Sequence[NetworkStack]) -> NetworkStack:
    """Stacks of one architecture as one."""
    for stack in checks.sequence("stacks", stacks):
        checks.instance("each of stacks", stack, NetworkStack)
    _check_alike([stack.template for stack in stacks])
    whole = stacks[0].select(slice(None))
    for name, first in list(whole.stacked.items()):
        together = torch.cat([stack.stacked[name].detach() for stack in stacks])
        whole.stacked[name] = nn.Parameter(together, requires_grad=first.requires_grad)
    return whole

"""The library's surrogates, one file each, in the order in which tables and figures list them."""

from dnl.surrogates.networks.delu import DELU
from dnl.surrogates.networks.dnl import DNL
from dnl.surrogates.networks.follower_dnl import FOLLOWER_DNL
from dnl.surrogates.networks.posterior_dnl import POSTERIOR_DNL
from dnl.surrogates.networks.relu import RELU
from dnl.surrogates.registry import register

for surrogate in (RELU, DELU, DNL, POSTERIOR_DNL, FOLLOWER_DNL):
    register(surrogate)

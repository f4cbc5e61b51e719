"""One file per method, base.py with the law they obey, and the table of them all."""

from untrained.methods.base import Method as Method
from untrained.methods.dense import Dense as Dense
from untrained.methods.edge_popup import EdgePopup as EdgePopup
from untrained.methods.random_subnetwork import RandomSubnetwork as RandomSubnetwork

METHODS: dict[str, type[Method]] = {
    "edge-popup": EdgePopup,
    "random": RandomSubnetwork,
    "dense": Dense,
}

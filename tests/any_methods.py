"""Every method, schedule and law there is, with any fields: what hypothesis draws from."""

from hypothesis import strategies as st

import untrained as ut
from untrained.methods import METHODS as _ALL

SHARES = st.floats(0.01, 1.0)
WORDS = st.sampled_from(["relu", "leaky_relu", "linear", "sigmoid", "tanh", "selu", "elu"])
FAN = st.sampled_from(["in", "out"])
UNTIL = st.floats(0.01, 1.0)
SCHEDULES = st.one_of(
    st.builds(ut.Constant, SHARES),
    st.builds(ut.Linear, SHARES, SHARES, UNTIL),
    st.builds(ut.Cubic, SHARES, SHARES, UNTIL),
    st.builds(ut.Geometric, SHARES, SHARES, UNTIL, st.none() | st.integers(1, 20)),
)
NUMBERS = st.floats(0, 100) | st.integers(0, 100)
SIGNED = st.floats(-10, 10) | st.integers(-10, 10)
PAIRS = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(sorted)


def _groups_of(pair):
    n, m = pair
    return st.builds(ut.EdgePopup, st.just(n / m), signed=st.booleans(), structure=st.just(ut.NofM(n, m)))


def methods(keep, *, parts=True):
    """Any method, its `keep` from this strategy; without `parts` one that PartlyFrozen can hold."""
    layers = st.sampled_from(["layer", "global"])
    known = [
        st.builds(ut.EdgePopup, keep, st.sampled_from(["layer", "global", "normalised"]), st.booleans()),
        st.builds(ut.RandomSubnetwork, keep),
        st.builds(ut.Biprop, keep, layers),
        st.builds(ut.Multicoated, keep, st.integers(1, 127), st.sampled_from(["linear", "uniform"])),
        st.builds(ut.Bernoulli, st.booleans(), SIGNED),
        st.builds(ut.FedPM, NUMBERS),
        st.builds(ut.SignedSupermask, NUMBERS),
        st.builds(ut.Threshold, NUMBERS, st.booleans(), st.none() | SIGNED),
        st.builds(
            ut.RelaxedBernoulli, st.sampled_from(["concrete", "gaussian"]), NUMBERS | SCHEDULES, st.floats(0.1, 5)
        ),
        st.builds(ut.Dense),
    ]
    if not parts:
        return st.one_of(known)
    blocks = st.builds(ut.Block, st.integers(1, 40), st.integers(1, 40))
    starts = st.floats(0, 0.4) | st.just(0)
    known += [
        PAIRS.flatmap(_groups_of),
        st.builds(ut.EdgePopup, keep, signed=st.booleans(), structure=blocks),
        st.builds(ut.IteRand, keep, st.integers(1, 1000), st.floats(0, 1) | st.integers(0, 1)),
        st.builds(ut.GemMiner, keep, layers, NUMBERS, st.integers(0, 20)),
        st.builds(ut.SlotMachines, st.integers(2, 127), st.booleans()),
        st.builds(ut.Nudge, st.floats(1e-3, 1e3), st.integers(1, 63), st.sampled_from(["weight", "zero"])),
        st.builds(ut.PartlyFrozen, methods(keep, parts=False), starts, starts),
    ]
    return st.one_of(known)


METHODS = methods(SHARES | SCHEDULES)
LAWS = st.one_of(
    *(
        st.builds(law, FAN, WORDS, st.booleans())
        for law in (ut.SignedConstant, ut.UnsignedConstant, ut.KaimingNormal, ut.KaimingUniform)
    ),
    *(st.builds(law, WORDS, st.booleans()) for law in (ut.XavierNormal, ut.XavierUniform, ut.XavierConstant)),
    st.builds(ut.Standard, st.booleans()),
    st.builds(ut.Prototype, FAN, WORDS, st.booleans(), st.integers(1, 5000)),
)

# Every method as it comes, without a line here; and those whose options change what they do.
VARIANTS = [
    *(cls() for cls in _ALL.values()),
    ut.Biprop(keep=0.1, scope="global"),
    ut.Biprop(ut.Linear(0.9, 0.2)),
    ut.EdgePopup(keep=0.07),
    ut.EdgePopup(keep=1.0),
    ut.EdgePopup(keep=0.3, signed=True),
    ut.EdgePopup(ut.Cubic(0.5, 0.1, until=0.5), scope="global"),
    ut.EdgePopup(keep=0.3, scope="normalised"),
    ut.EdgePopup(structure=ut.NofM(2, 4)),
    ut.EdgePopup(keep=0.25, structure=ut.NofM(1, 4), signed=True),
    ut.EdgePopup(keep=0.3, structure=ut.Block(4, 3)),
    ut.FedPM(entropy=0.1),
    ut.GemMiner(keep=0.2, scope="layer", decay=1e-4),
    ut.IteRand(period=1, rate=1.0),
    ut.Multicoated(keep=0.3, coats=5, spacing="uniform"),
    ut.Nudge(step=0.5, levels=31),
    ut.Nudge(step=1.0, around="zero"),
    ut.PartlyFrozen(ut.Biprop(0.4), pruned=0.2, locked=0.2),
    ut.PartlyFrozen(ut.EdgePopup(0.3, scope="global")),
    ut.PartlyFrozen(ut.Bernoulli()),
    ut.RelaxedBernoulli(gate="concrete", sparsity=0.1),
    ut.SlotMachines(values=3, greedy=False),
    ut.Threshold(ternary=True),
    ut.Threshold(threshold=0.0, start=None),
]

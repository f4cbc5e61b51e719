"""`check_law` passes for every law of ours, and names what is broken in each of these."""

import dataclasses
import itertools
from typing import final

import numpy as np
import pytest
import torch
from hypothesis import given, settings

import untrained as ut
from any_methods import LAWS
from untrained.weights.random import normals


@settings(max_examples=25)
@given(LAWS)
def test_our_laws_pass(law):
    ut.testing.check_law(law)


@dataclasses.dataclass(frozen=True)
class Good(ut.WeightLaw):
    """N(0, 1/fan in), for its broken children below."""

    scaled: bool = False

    def units(self):
        return normals

    def scale(self, shape):
        return shape[1] ** -0.5


@final
class Fine(Good):
    pass


class Open(Good):
    pass


@final
@dataclasses.dataclass(frozen=True)
class Unwritten(Good):
    part: tuple = (1, 2)


def _broken(description, **members):
    """Make a final law of these members, with the words of the error that `check_law` is to raise."""
    cls = final(type(f"Broken{next(_NUMBER)}", (Good,), members))
    return pytest.param(cls(), description, id=description.replace(" ", "-"))


_NUMBER = itertools.count()


def _units(fill):
    def units(self):
        def draw(seed, name, first_block, out, scale):
            normals(seed, name, first_block, out, scale)
            fill(seed, out)

        return draw

    return units


def _threads(seed, out):
    out *= torch.get_num_threads()


def _global(seed, out):
    out += torch.rand(len(out)).numpy()


def _state(seed, out, calls=itertools.count(1)):  # noqa: B008
    out *= next(calls)


def _length(seed, out):
    out[-1] = 0


def _infinite(seed, out):
    out[len(out) // 2 :] = np.inf


def _one_seed(self):
    return lambda seed, name, first_block, out, scale: normals(1, name, first_block, out, scale)


BROKEN = [
    pytest.param(Open(), "@final", id="open"),
    pytest.param(Unwritten(), "fields that JSON brings back", id="unwritten"),
    _broken("finite", units=_units(_infinite)),
    _broken("any threads", units=_units(_threads)),
    _broken("same for the same seed|in `draw_each`", units=_units(_state)),
    _broken("global generator|same for the same seed|in `draw_each`", units=_units(_global)),
    _broken("not on its length", units=_units(_length)),
    _broken("other weights for other seeds", units=_one_seed),
    _broken("positive scale", scale=lambda self, shape: -1.0),
    _broken("one factor", units=_units(lambda seed, out: np.multiply(out, 2.0 if seed == 1 else 1.0, out=out))),
]


@pytest.mark.parametrize(("law", "description"), BROKEN)
def test_what_is_broken_is_named(law, description):
    with pytest.raises(AssertionError, match=description):
        ut.testing.check_law(law)


def test_a_law_of_ones_own_passes():
    ut.testing.check_law(Fine())


def test_only_laws_can_be_checked():
    with pytest.raises(TypeError, match=r"WeightLaw.*SignedConstant"):
        ut.testing.check_law(ut.SignedConstant)

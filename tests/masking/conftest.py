"""Every kind of model, masked in both scopes."""

import pytest

from mask_checks import masked_model
from zoo import ZOO


@pytest.fixture(params=["layer", "global"])
def scope(request):
    return request.param


@pytest.fixture(params=ZOO)
def case(request):
    return ZOO[request.param]


@pytest.fixture
def masked(case, scope):
    return masked_model(case, scope)

"""The recipe of each method of a model: given, the methods' own, or those of their papers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from untrained.masking.mask import is_masked, record
from untrained.methods.base import Method
from untrained.methods.recipe import SCORES, WEIGHTS, Recipe

Recipes = Mapping[Method | None, Recipe]
"""The recipe of the scores of each method that learns; where none does, of None: all that learns besides."""


def find_recipes(recipe: Recipe | Mapping[Method, Recipe] | str | None, model: nn.Module) -> Recipes:
    """Return the recipes that `fit` uses for a model.

    Raises:
        ValueError: a method has none, or they have different losses.
    """
    given = list(recipe.values()) if isinstance(recipe, Mapping) else [recipe]
    if recipe not in (None, "paper") and not all(isinstance(each, Recipe) for each in given):
        raise ValueError(f"recipe must be a Recipe, {{method: Recipe}}, 'paper' or None, got {recipe!r}")
    groups = record(model).groups if is_masked(model) else ()
    methods = [group.planned for group in groups if group.planned.learns]
    found = _find_each(recipe, methods)
    if not found:
        plain = SCORES if is_masked(model) else WEIGHTS
        return {None: recipe if isinstance(recipe, Recipe) else plain}
    if len({each.label_smoothing for each in found.values()}) > 1:
        given = ", ".join(f"{type(method).__name__} {each.label_smoothing:g}" for method, each in found.items())
        raise ValueError(f"the recipes of one model must have one label_smoothing, got {given}; pass one as recipe=")
    return found


def _find_each(recipe: Recipe | Mapping[Method, Recipe] | str | None, methods: list[Method]) -> Recipes:
    """Return the recipe of each method."""
    if isinstance(recipe, Recipe):
        return dict.fromkeys(methods, recipe)
    if isinstance(recipe, Mapping):
        for method in {*methods} ^ {*recipe}:
            raise ValueError(f"recipe {'lacks' if method in methods else 'has'} {method}, expected the model's methods")
        return {method: recipe[method] for method in methods}
    if recipe is None:
        return {method: method.recipe for method in methods}
    found: dict[Method | None, Recipe] = {m: m.paper.recipe for m in methods if m.paper is not None}
    for method in methods:
        if method not in found:
            if len(set(found.values())) != 1:
                raise ValueError(f"{type(method).__name__} has no paper whose recipe could be used")
            return dict.fromkeys(methods, next(iter(found.values())))
    return found

"""Names of the rows of a table, and the row that each is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from untrained.fields import suggest

Place = tuple[str, float | None, float | None, str | None, str | None, str | None]
"""The (method, keep, width, law, norm, model) that the seeds of a row share."""


def full_name(place: Place) -> str:
    """Return the method and all that is known of its place, such as "edge-popup, keep 0.5"."""
    method, *rest = place
    titles = ("keep", "width", "weights", "norm", "model")
    return ", ".join(
        [method, *(f"{title} {value}" for title, value in zip(titles, rest, strict=True) if value is not None)]
    )


def names_of(places: Sequence[Place]) -> list[str]:
    """Return a name for each row: its method if no other row has that, else the full name."""
    counts = Counter(place[0] for place in places)
    return [place[0] if counts[place[0]] == 1 else full_name(place) for place in places]


def find_references(places: Sequence[Place], against: str) -> list[Place | None]:
    """Return for each row the row that it is compared with; None for that row itself, or if none is comparable.

    Args:
        places: all rows.
        against: name of a row; or a method, of whose rows that of the same keep, width, law, norm and model is meant.

    Raises:
        ValueError: no row is called so.
    """
    chosen = [place for place in places if against in (place[0], full_name(place))]
    if not chosen:
        near = suggest(against, [*(place[0] for place in places), *names_of(places)])
        known = "; ".join(names_of(places))
        raise ValueError(f"against must be a row of the table, got {against!r}{near}; known: {known}")
    return [_find_reference(place, chosen) for place in places]


def _find_reference(place: Place, chosen: Sequence[Place]) -> Place | None:
    if place in chosen:
        return None
    alike = [
        other
        for other in chosen
        if all(theirs in (own, None) or own is None for own, theirs in zip(place[1:], other[1:], strict=True))
    ]
    candidates = chosen if len(chosen) == 1 else alike
    return candidates[0] if len(candidates) == 1 else None

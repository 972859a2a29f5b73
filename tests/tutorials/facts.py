"""What a recipe comes to, beside the facts of its tutorial."""

from typing import Any

from pellucid.records import flat
from pellucid.training.configure import configure


def settings(name: str) -> dict[str, Any]:
    """Every setting of a training by the recipe alone, by dotted name."""
    return dict(flat(configure("photos", recipe=name).model_dump()))


def differing(name: str, facts: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The facts that a recipe does not keep: what it says, and what is true."""
    found = settings(name)
    return {fact: (found.get(fact), true) for fact, true in facts.items() if found.get(fact) != true}

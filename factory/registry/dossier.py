"""What is known of a version when its card is written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from factory.base.catalog import CATALOG
from factory.recipe import Card
from factory.registry.remote import Place
from factory.registry.store import Version


@dataclass(frozen=True)
class Dossier:
    """Everything that a card tells of a version. The base is given by id and revision, as far as it has them."""

    version: Version
    ordinal: int
    place: Place
    base_id: str
    base_revision: str
    card: Card
    description: str
    train: dict[str, Any]
    scorecard: dict[str, Any] | None
    before: dict[str, Any] | None
    gate: dict[str, Any] | None
    data: dict[str, Any] | None
    curves: str  # the picture of the losses there, if there is one

    @property
    def on_hub(self) -> bool:
        """Whether the base can be had from the Hub by its id."""
        return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", self.base_id))

    @property
    def license(self) -> str:
        return self.card.license or (
            CATALOG[self.version.facts.base].license if self.version.facts.base in CATALOG else ""
        )

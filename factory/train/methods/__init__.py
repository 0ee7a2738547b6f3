"""How an adapter learns, one file a method: `METHODS` names them, a recipe's `stages` lists those it goes through."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from factory.strict import nearest
from factory.train.methods.dpo import Dpo, DpoNorm
from factory.train.methods.draws import Draws, Grpo, Raft
from factory.train.methods.kto import Kto
from factory.train.methods.method import Method, Seen, Totals
from factory.train.methods.sft import Sft

METHODS: dict[str, type[Method]] = {"sft": Sft, "dpo": Dpo, "dpo_norm": DpoNorm, "kto": Kto, "grpo": Grpo, "raft": Raft}


def _named(value: Any) -> Any:
    """`dpo`, or `{dpo: {beta: 0.2}}`, as the settings of that method."""
    name, settings = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, {})
    if name not in METHODS:
        raise ValueError(f"must be a method, or {{method: {{settings}}}}{nearest(str(name), METHODS)}")
    if not isinstance(settings, dict):
        raise ValueError(f"the settings of {name} must be a mapping")
    known = METHODS[name].model_fields.keys() - {"method"}
    if unknown := next((key for key in settings if key not in known), None):
        raise ValueError(f"{name} has no setting {unknown!r}{nearest(str(unknown), known)}")
    return {"method": name, **settings}


def _listed(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Stage = Annotated[
    Annotated[Sft | Dpo | DpoNorm | Kto | Grpo | Raft, Field(discriminator="method")], BeforeValidator(_named)
]
Stages = Annotated[list[Stage], BeforeValidator(_listed)]

__all__ = ["METHODS", "Dpo", "DpoNorm", "Draws", "Grpo", "Kto", "Method", "Raft", "Seen", "Sft", "Stages", "Totals"]

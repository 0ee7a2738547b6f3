"""How an adapter learns: `METHODS` by name, and the `stages` that a recipe lists of them."""

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from factory.strict import nearest
from factory.train.methods.dpo import Dpo, DpoNorm
from factory.train.methods.draws import LEARNED, Drawing, Generate, Grpo
from factory.train.methods.kto import Kto
from factory.train.methods.method import Method, Seen, Settings, Totals
from factory.train.methods.reward import Reward
from factory.train.methods.sft import Pretrain, Recover, Sft, Supervised

_Any = Sft | Dpo | DpoNorm | Kto | Grpo | Generate | Reward | Pretrain | Recover
METHODS: dict[str, type[Settings]] = {kind.model_fields["method"].default: kind for kind in get_args(_Any)}
ROUNDS = 20


def _named(value: Any) -> Any:
    """`dpo`, or `{dpo: {beta: 0.2}}`, as the settings of that method; what is settings already stays."""
    if isinstance(value, Settings):
        return value
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
    """`sft,dpo` as a list; `{rounds: {n: 2, of: [generate, sft]}}` as its stages so many times."""
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return [one for stage in value for one in _rounds(stage)] if isinstance(value, list) else value


def _rounds(stage: Any) -> list[Any]:
    if not (isinstance(stage, dict) and [*stage] == ["rounds"]):
        return [stage]
    match stage["rounds"]:
        case {"n": int(n), "of": [*of], **others} if 1 <= n <= ROUNDS and of and not others:
            return [*_listed(of)] * n
    raise ValueError(f"rounds are {{rounds: {{n: 2, of: [generate, sft]}}}}, n from 1 to {ROUNDS}")


def _held(stages: list[Any]) -> list[Any]:
    """A reward that was learned can be had without deserving it: who is paid by one stays near its parent, unless it
    says itself how much that weighs."""
    behind = next((n for n, stage in enumerate(stages) if isinstance(stage, Reward)), len(stages))
    return [
        stage.model_copy(update={"beta": LEARNED})
        if n > behind and isinstance(stage, Grpo) and "beta" not in stage.model_fields_set
        else stage
        for n, stage in enumerate(stages)
    ]


Stage = Annotated[Annotated[_Any, Field(discriminator="method")], BeforeValidator(_named)]
Stages = Annotated[list[Stage], BeforeValidator(_listed), AfterValidator(_held)]

__all__ = [
    "METHODS", "Dpo", "DpoNorm", "Drawing", "Generate", "Grpo", "Kto", "Method", "Pretrain", "Recover", "Reward",
    "Seen", "Settings", "Sft", "Stages", "Supervised", "Totals",
]  # fmt: skip

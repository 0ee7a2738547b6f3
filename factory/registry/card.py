"""The model card of a version in the Hub's form: metadata that search and comparison read, and a page that people read.

Everything in it is measured or stands in the version; what was not measured is not there. The scores stand in the
metadata (`model-index`) and in a table with their intervals. A card never holds rows of the data, paths or secrets.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from factory.base.catalog import CATALOG, entry
from factory.kinds import KINDS
from factory.recipe import Card
from factory.registry.remote import Place
from factory.registry.store import CONFIG, WEIGHTS, Version
from factory.terminal import percent

LIBRARY_TAGS = ["adapter-factory", "lora", "peft", "nf4"]
PERCENT = partial(percent, unknown="–")
SLOTS = (8, 16, 32, 64, 128, 256, 320, 512)  # ranks that vLLM can be started for


@dataclass(frozen=True)
class Dossier:
    """Everything that a card tells of a version. The base is given by id and revision, as far as it has them."""

    version: Version
    ordinal: int
    place: Place
    base_id: str
    base_revision: str
    card: Card
    recipe: Mapping[str, Any]  # as it was trained
    notes: Mapping[str, Any]  # scorecard, base_scorecard, gate and data, each None where it is not known
    curves: str  # the picture of the losses there, if there is one

    @property
    def on_hub(self) -> bool:
        """Whether the base can be had from the Hub by its id."""
        return bool(re.fullmatch(r"[\w.-]+/[\w.-]+", self.base_id))

    @property
    def license(self) -> str:
        return self.card.license or entry(self.version.facts.base).license


def render(dossier: Dossier) -> str:
    """The whole README.md."""
    from huggingface_hub import ModelCard

    version, facts, card = dossier.version, dossier.version.facts, dossier.card
    train, before = dossier.recipe.get("train", {}), dossier.notes["base_scorecard"]
    lr = train.get("lr")
    config = json.loads((version.folder / CONFIG).read_text())
    values = vars(dossier) | {name: dossier.notes[name] or {} for name in ("data", "scorecard", "gate")}
    values |= {"description": dossier.recipe.get("description", ""), "train": train, "before": before or {}}
    values |= {"percent": PERCENT, "share": _share, "fenced": _fenced, "license": dossier.license}
    made = ModelCard.from_template(
        metadata(dossier),
        template_path=str(Path(__file__).with_name("card.md.j2")),
        **values,
        config=config,
        known=facts.base in CATALOG,
        lr=f"{CATALOG[facts.base].lr:g}" if lr == "auto" and facts.base in CATALOG else lr,
        not_for=[line for each in card.not_for.splitlines() if (line := each.strip("- ").strip())],
        on_hub=dossier.on_hub,
        size=(version.folder / WEIGHTS).stat().st_size,
        slot=_slot(config),
    )
    return str(made)


def metadata(dossier: Dossier) -> Any:
    """The card's YAML head, as huggingface_hub's ModelCardData."""
    from huggingface_hub import ModelCardData

    facts, card = dossier.version.facts, dossier.card
    results = _results(dossier)
    return ModelCardData(
        language=card.language or None,
        license=dossier.license or None,
        library_name="peft",
        base_model=dossier.base_id if dossier.on_hub else None,
        datasets=card.datasets or None,
        tags=[*LIBRARY_TAGS, facts.kind, f"base_fingerprint:{facts.fingerprint[:16]}"],
        pipeline_tag=KINDS[facts.kind].pipeline,
        model_name=f"{facts.task} v{dossier.ordinal}",
        eval_results=results or None,
        base_model_relation="adapter" if dossier.on_hub else None,
    )


def _results(dossier: Dossier) -> list[Any]:
    from huggingface_hub import EvalResult

    card, data, facts = dossier.notes["scorecard"] or {}, dossier.notes["data"] or {}, dossier.version.facts
    values = [(name, f"{name.capitalize()} answers", card.get(name)) for name in ("good", "poor")]
    if labels := card.get("labels"):
        values += [("accuracy", "Accuracy", labels.get("accuracy")), ("f1", "Macro F1", labels.get("macro_f1"))]
    return [
        EvalResult(
            task_type=KINDS[facts.kind].pipeline,
            task_name=facts.task,
            dataset_type=facts.task,
            dataset_name=f"{facts.task}: rows held out from training",
            dataset_split="eval",
            dataset_revision=data.get("hash"),
            metric_type=metric,
            metric_name=name,
            metric_value=round(value, 4),
            metric_args=_args(card, metric),
        )
        for metric, name, value in values
        if value is not None
    ]


def _args(card: dict[str, Any], metric: str) -> dict[str, Any]:
    """What a number rests on: how many rows, which rubric, and its 95 % interval where there is one."""
    args = {"rows": card.get("n"), "rubric": card.get("rubric"), "rubric_hash": card.get("rubric_hash")}
    interval = (card.get("intervals") or {}).get(metric)
    return args | ({"interval_95": [round(bound, 4) for bound in interval]} if interval else {})


def _share(card: dict[str, Any], name: str) -> str:
    text = PERCENT(card.get(name))
    interval = (card.get("intervals") or {}).get(name)
    return f"{text} [{100 * interval[0]:.0f}–{100 * interval[1]:.0f}]" if interval and text != "–" else text


def _fenced(text: str, language: str) -> str:
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def _slot(config: Mapping[str, Any]) -> int:
    """The smallest of vLLM's sizes for adapters that holds this one's rank."""
    rank = max([int(config["r"]), *map(int, (config.get("rank_pattern") or {}).values())])
    return min((size for size in SLOTS if size >= rank), default=rank)

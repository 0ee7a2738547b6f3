"""The model card of a version in the Hub's form: metadata that search and comparison read, and a page that people read.

Everything in it is measured or stands in the version; what was not measured is not there. The scores stand in the
metadata (`model-index`) and in a table with their intervals. A card never holds rows of the data, paths or secrets.
"""

from __future__ import annotations

import json
from typing import Any

from factory.base.catalog import CATALOG
from factory.kinds import KINDS
from factory.registry.dossier import Dossier
from factory.registry.store import CONFIG, Version
from factory.registry.usage import use

LIBRARY_TAGS = ["adapter-factory", "lora", "peft", "nf4"]
NOT_FOR = (
    "Decisions about people (credit, work, health, law) without a person who checks each of them.",
    "Texts of another kind, length or language than it was trained and graded on: the scores say nothing about those.",
    "Another base, or another quantisation of it, without grading it again.",
)


def render(dossier: Dossier) -> str:
    """The whole README.md."""
    from huggingface_hub import ModelCard

    facts = dossier.version.facts
    parts = [
        f"# {facts.task} · v{dossier.ordinal}",
        dossier.description or f"A LoRA adapter for the task *{facts.task}* ({facts.kind}).",
        _at_a_glance(dossier),
        "## Scores\n\n" + _scores(dossier),
        "## Use\n\n" + use(dossier),
        "## Not for\n\n" + "\n".join(f"- {line}" for line in (*_split(dossier.card.not_for), *NOT_FOR)),
        "## How it was made\n\n" + _made(dossier),
        "## What is in here\n\n" + _files(dossier),
    ]
    card = ModelCard(
        f"---\n{metadata(dossier).to_yaml()}\n---\n\n" + "\n\n".join(part for part in parts if part) + "\n"
    )
    return str(card)


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

    card, facts = dossier.scorecard or {}, dossier.version.facts
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
            dataset_revision=(dossier.data or {}).get("hash"),
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


def _at_a_glance(dossier: Dossier) -> str:
    facts, config = dossier.version.facts, _config(dossier.version)
    base = f"`{dossier.base_id}`" + (f" at `{dossier.base_revision[:12]}`" if dossier.base_revision else "")
    rows = [
        ("Version", f"`{dossier.version.short}`, v{dossier.ordinal} here"),
        ("Base", f"{base}, in 4 bits (NF4, double quantisation)"),
        ("Base fingerprint", f"`{facts.fingerprint[:16]}…` over weights, tokenizer, chat template, settings"),
        ("Adapter", f"LoRA, rank {config.get('r')}, alpha {config.get('lora_alpha'):g}, in {_size(dossier.version)}"),
        ("Answers", _decoding(dossier)),
        ("Licence", dossier.license or "not stated"),
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| **{name}** | {value} |" for name, value in rows)


def _scores(dossier: Dossier) -> str:
    card, before = dossier.scorecard, dossier.before or {}
    if not card:
        return "Not graded yet. Do not use it in production."
    lines = [
        f"{card['n']} held-out rows, graded by the rubric *{card['rubric']}* "
        f"(`{card['rubric_hash'][:12]}`); 95 % intervals in brackets.",
        "",
        f"| | base alone | v{dossier.ordinal} |",
        "|---|---|---|",
    ]
    for name in ("good", "average", "poor"):
        lines.append(f"| **{name}** | {_share(before, name)} | {_share(card, name)} |")
    for name, dimension in card.get("dimensions", {}).items():
        old = before.get("dimensions", {}).get(name, {})
        lines.append(f"| {name.replace('_', ' ')}: good | {_share(old, 'good')} | {_share(dimension, 'good')} |")
    if labels := card.get("labels"):
        old = (before.get("labels") or {}).get("accuracy")
        lines.append(f"| accuracy | {_percent(old)} | {_percent(labels.get('accuracy'))} |")
    if missing := card.get("not_measured"):
        lines += ["", f"Not measured: {', '.join(name.replace('_', ' ') for name in missing)}."]
    if gate := dossier.gate:
        lines += ["", f"**Gate: {gate['decision']}.** {gate.get('why', '')}"]
    return "\n".join(lines)


def _made(dossier: Dossier) -> str:
    train, data = dossier.train, dossier.data or {}
    lines = []
    if train:
        lr = train.get("lr")
        if lr == "auto" and dossier.version.facts.base in CATALOG:
            lr = f"{CATALOG[dossier.version.facts.base].lr:g}"
        lines.append(
            f"- **Training**: {train.get('epochs'):g} epoch{'' if train.get('epochs') == 1 else 's'}, "
            f"batch {train.get('batch')}, learning rate {lr}, {train.get('schedule')} schedule, "
            f"at most {train.get('max_length')} tokens, seed {train.get('seed')}; "
            "LoRA over the frozen 4-bit base, loss on the answers only."
        )
    if rows := data.get("rows"):
        lines.append(
            f"- **Data**: {rows['train']} rows to learn from, {rows['eval']} held out, {rows['dropped']} dropped by "
            f"filters, deduplication and decontamination; data set `{data['hash'][:12]}`"
            + (f", {dossier.card.data_license}" if dossier.card.data_license else "")
            + "."
        )
    if dossier.curves:
        lines.append(f"- **Losses**:\n\n  ![training and eval loss]({dossier.curves})\n")
    if not lines:
        lines.append("- Made elsewhere and adopted: how it was trained is not known here.")
    lines.append("- **Merging**: merge it only into the dequantised 4-bit base; it corrects that base's rounding.")
    return "\n".join(lines)


def _files(dossier: Dossier) -> str:
    rows = [
        ("adapter_model.safetensors, adapter_config.json", "the adapter, as PEFT and vLLM read it"),
        ("version.json", "task, prompt, labels, decoding and base: with the adapter they give the version's hash"),
        ("factory/manifest.json", "sha256 of every file, and the base's id, revision and fingerprint"),
        ("factory/", "recipe, prompt, rubric, scorecards, gate decision, data manifest, as far as there are any"),
        ("registry.json (on `main`)", "all versions, and which of them `prod` and `canary` mean"),
    ]
    return "\n".join(f"- `{name.replace(' (on `main`)', '')}`: {text}" for name, text in rows)


def _decoding(dossier: Dossier) -> str:
    facts = dossier.version.facts
    if facts.labels:
        return (
            f"one of {', '.join(f'`{label}`' for label in facts.labels[:20])}{' …' if len(facts.labels) > 20 else ''}"
        )
    heat = facts.decoding.temperature
    return f"at most {facts.decoding.max_tokens} tokens, {'greedy' if not heat else f'temperature {heat:g}'}"


def _share(card: dict[str, Any], name: str) -> str:
    text = _percent(card.get(name))
    interval = (card.get("intervals") or {}).get(name)
    return f"{text} [{100 * interval[0]:.0f}–{100 * interval[1]:.0f}]" if interval and text != "–" else text


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _config(version: Version) -> dict[str, Any]:
    return dict(json.loads((version.folder / CONFIG).read_text()))


def _size(version: Version) -> str:
    return f"{(version.folder / 'adapter_model.safetensors').stat().st_size / 2**20:.1f} MiB"


def _split(text: str) -> list[str]:
    return [line.strip("- ").strip() for line in text.splitlines() if line.strip("- ").strip()]

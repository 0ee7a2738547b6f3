"""The model card: what the Hub reads in it, what it must not hold, and how it looks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from factory.registry.bundle import gather
from factory.registry.places import parse
from tests.factory.registry.conftest import Make
from tests.fakes.fake_hub import FakeHub

PLACE = parse("hub:team/mail")


def shares(good: float, poor: float) -> dict[str, Any]:
    values = {"good": good, "average": round(1 - good - poor, 4), "poor": poor}
    return {"n": 200, **values, "intervals": {k: [max(0, v - 0.06), min(1, v + 0.06)] for k, v in values.items()}}


def graded(good: float, poor: float, labels: bool = False) -> dict[str, Any]:
    return {
        **shares(good, poor), "rubric": "mail", "rubric_hash": "c" * 64, "rows": 200, "not_measured": ["harmfulness"],
        "dimensions": {"groundedness": shares(good + 0.1, poor), "following_instructions": shares(good + 0.05, 0.01)},
        **({"labels": {"accuracy": 0.91, "macro_f1": 0.89}} if labels else {}),
    }  # fmt: skip


NOTES = {
    "scorecard": graded(0.83, 0.04, labels=True),
    "base_scorecard": graded(0.12, 0.55),
    "gate": {"decision": "PROMOTE", "why": "good +71.0%, at least +64.1%; must be above -10.0%"},
    "recipe": {
        "description": "One or two sentences a phone would show.", "rubric": "mail",
        "train": {"epochs": 3, "batch": 16, "lr": 2e-4, "schedule": "cosine", "max_length": 1024, "seed": 0},
        "card": {"license": "apache-2.0", "language": ["en", "de"], "datasets": ["team/mails"], "not_for": "Law."},
    },
    "data": {"hash": "d" * 64, "rows": {"train": 1300, "eval": 200, "dropped": 41}},
}  # fmt: skip


def card(make: Make, tmp_path: Path, **notes: Any) -> str:
    files, _ = gather(make(1, **notes), 3, PLACE, tmp_path / "bundle")
    return files["README.md"].read_text()


def test_the_hub_reads_its_head(hub: FakeHub, make: Make, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    read = ModelCard(card(make, tmp_path, **NOTES))
    read.validate()  # asks the Hub
    data = read.data
    assert (data.base_model, data.base_model_relation, data.library_name) == ("team/small", "adapter", "peft")
    assert (data.license, data.language, data.datasets) == ("apache-2.0", ["en", "de"], ["team/mails"])
    assert {"adapter-factory", "lora", "summary"} <= set(data.tags)
    results = {r.metric_type: r for r in data.eval_results}
    assert {name: r.metric_value for name, r in results.items()} == {
        "good": 0.83,
        "poor": 0.04,
        "accuracy": 0.91,
        "f1": 0.89,
    }
    assert results["good"].metric_args["interval_95"] == [0.77, 0.89] and results["good"].dataset_revision == "d" * 64


def test_it_tells_people_what_they_need(make: Make, tmp_path: Path) -> None:
    text = card(make, tmp_path, **NOTES)
    for needed in (
        "factory pull from=hub:team/mail@v3", "hf download team/mail --revision v3", "vllm serve team/small",
        "--max-lora-rank 8 --lora-modules mail=mail", 'PeftModel.from_pretrained(model, "team/mail"',
        "Be brief.", "| **good** | 12.0 % [6–18] | 83.0 % [77–89] |", "**Gate: PROMOTE.**", "- Law.",
        "Not measured: harmfulness.", "1300 rows to learn from",
    ):  # fmt: skip
        assert needed in text


def test_what_was_not_measured_is_not_there(make: Make, tmp_path: Path) -> None:
    text = card(make, tmp_path)
    assert "Not graded yet" in text and "model-index" not in text and "0.0 %" not in text and "None" not in text


@pytest.mark.browser
def test_it_looks_as_it_should(make: Make, tmp_path: Path) -> None:
    """Renders the card as a page and that into card.png, to be looked at."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("no browser here")
    from markdown_it import MarkdownIt

    body = card(make, tmp_path, **NOTES).split("---\n", 2)[2]
    style = (
        "body{font:16px/1.5 sans-serif;max-width:820px;margin:24px auto;color:#1f2328}table{border-collapse:collapse}"
        "td,th{border:1px solid #d1d9e0;padding:4px 12px;text-align:left}pre{background:#f6f8fa;padding:12px;"
        "overflow:auto}code{font:13px monospace;background:#f6f8fa}h2{border-bottom:1px solid #d1d9e0}"
    )
    page, picture = tmp_path / "card.html", tmp_path / "card.png"
    html = MarkdownIt("commonmark").enable("table").render(body)
    page.write_text(f"<!doctype html><meta charset=utf-8><style>{style}</style>{html}")
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={picture}", "--window-size=900,2150",
         f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert picture.stat().st_size > 50_000
    assert html.count("<table>") == 2 and "<pre>" in html and "|---" not in html

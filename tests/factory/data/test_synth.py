"""Every generator against a teacher that plays along, and against one that does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from fakes.endpoint import Answer, FakeEndpoint, Faults
from fakes.tokenizer import FakeTokenizer

from factory.data.read import records
from factory.data.synth import from_documents, from_labels, summarise
from factory.data.synth import run as synth
from factory.data.synth.job import Novelty, prompt
from factory.errors import InputError
from factory.recipe import Recipe

WORDS = "amber birch cedar delta ember fjord grove heron inlet jetty knoll larch maple north ocean pearl quill".split()


def novel(number: int, n: int = 9) -> str:
    """A sentence that shares hardly a word's order with any other."""
    state = number * 7919 + 13
    chosen = []
    for _ in range(n):
        state = (state * 1103515245 + 12345) % 2**31
        chosen.append(f"{WORDS[state % len(WORDS)]}{state % 97}")
    return " ".join(chosen)


def teacher(form: str, messages: list[dict[str, str]], number: int) -> Any:
    text = messages[-1]["content"]
    key = zlib.crc32(json.dumps(messages).encode())
    if form == "tasks":
        return {
            "tasks": [
                {"instruction": f"Explain {novel(key * 10 + i)}", "input": "", "output": f"Because of {i}."}
                for i in range(4)
            ]
        }
    if form == "rewritten":
        return {"change": "rarer", "request": f"Describe {novel(key)} in detail"}
    if form == "pairs":
        n = int(re.search(r"Write (\d+)", text)[1])  # type: ignore[index]
        return {
            "pairs": [
                {"question": f"What about {novel(key + i)}?", "answer": f"It is {novel(key + i, 4)}."} for i in range(n)
            ]
        }
    if form == "alone":
        return {"understandable": True, "answer": "I guess."}
    if form == "verdict":
        return {"reason": "so it says", "verdict": "same"}
    if form == "texts":
        return {"texts": [f"Please note {novel(key * 10 + i)}" for i in range(5)]}
    if form == "people":
        return {"people": [f"A person who likes {novel(key * 100 + i)}" for i in range(10)]}
    if form == "requests":
        return {"requests": [f"Tell me of {novel(key * 10 + i)}" for i in range(3)]}
    return {"answer": f"In short: {novel(key, 6)}."}


@pytest.fixture
def job(make: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recipe with ten seed rows and ten labelled ones; `job(url, **changes)` points it at an endpoint."""
    seeds = [{"prompt": f"Say something about {novel(i)}", "completion": f"Well, {novel(i, 4)}."} for i in range(10)]
    labelled = [{"text": novel(i + 50), "label": "a" if i < 8 else "b"} for i in range(10)]
    for name, rows in (("train.jsonl", seeds), ("labels.jsonl", labelled)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    sentences = " ".join(f"The {novel(i)} stands here since 19{i:02d}." for i in range(60))
    (folder / "doc.md").write_text(sentences)
    (folder / "prompt.md").write_text("Answer well.")

    def recipe(
        url: str, train: str = "train.jsonl", concurrency: int = 4, timeout: float = 60, **settings: Any
    ) -> Recipe:
        endpoint = {"url": url, "model": "teacher", "concurrency": concurrency, "timeout": timeout}
        return make(train=train, synth={"endpoint": endpoint, **settings})

    return recipe


def run(recipe: Recipe, kind: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = synth.run(recipe, kind, FakeTokenizer(), pause=0.01)
    return found, [record.value or {} for record in records(str(recipe.folder / "synth" / f"{kind}.jsonl"))]


CASES = [
    ("self-instruct", {"n": 20}, {"instruction", "input", "output"}),
    ("evolve", {"n": 12}, {"prompt", "completion", "operator", "from"}),
    ("from-documents", {"n": 9, "files": "doc.md"}, {"prompt", "completion", "from", "verified"}),
    ("from-labels", {"n": 12, "train": "labels.jsonl"}, {"text", "label", "from"}),
    ("summarise", {"n": 5, "files": "train.jsonl"}, {"document", "summary", "from"}),
    ("personas", {"n": 9}, {"prompt", "completion", "persona"}),
]


def summarising(form: str, messages: list[dict[str, str]], number: int) -> Any:
    """For `summarise`: the first words of the document, which are in it."""
    return {"answer": " ".join(messages[-1]["content"].split()[-4:-1])}


def answers(kind: str) -> Answer:
    return summarising if kind == "summarise" else teacher


@pytest.mark.parametrize(("kind", "settings", "keys"), CASES)
def test_each_generator_makes_rows_that_pass_the_steps(
    job: Any, kind: str, settings: dict[str, Any], keys: set[str]
) -> None:
    with FakeEndpoint(answers(kind)) as fake:
        found, rows = run(job(fake.url, **settings), kind)
        assert found["kept"] == len(rows) == settings["n"]
        assert all(set(row) == keys for row in rows)
        assert found["usage"]["failed"] == 0
        again, same = run(job(fake.url, **settings), kind)
        assert same == rows and again["usage"]["asked"] == 0 and set(fake.asked.values()) == {1}


@pytest.mark.parametrize(("kind", "settings", "keys"), CASES)
def test_faults_lose_nothing_and_a_second_run_fills_the_gaps(
    job: Any, kind: str, settings: dict[str, Any], keys: set[str]
) -> None:
    storm: Faults = lambda i, key: ("429", "", "cut", "", "500", "", "hangup", "prose", "")[i % 9]  # noqa: E731
    with FakeEndpoint(answers(kind), storm) as fake:
        first, rows = run(job(fake.url, **settings), kind)
        assert first["made"] >= len(rows)
        fake.faults = lambda i, key: ""
        found, rows = run(job(fake.url, **settings), kind)
        assert found["kept"] == len(rows) == settings["n"]
        assert set(fake.asked.values()) == {1}
        texts = [json.dumps(row) for row in rows]
        assert len(set(texts)) == len(texts)


def test_rows_that_repeat_the_training_rows_are_dropped(job: Any) -> None:
    def repeats(form: str, messages: list[dict[str, str]], number: int) -> Any:
        if form == "requests":
            return {
                "requests": [
                    f"Say something about {novel(0)} now",
                    f"I ask for {novel(number + 900)}",
                    novel(number + 500),
                ]
            }
        return teacher(form, messages, number)

    with FakeEndpoint(repeats) as fake:
        found, rows = run(job(fake.url, n=9), "personas")
        assert found["reasons"]["too much like an earlier request (ROUGE-L above 0.7)"] >= 1
        assert not any(novel(0) in row["prompt"] for row in rows)


def test_a_teacher_that_refuses_is_dropped_with_the_reason(job: Any) -> None:
    def refuses(form: str, messages: list[dict[str, str]], number: int) -> Any:
        return (
            {"answer": "I'm sorry, but I cannot help with that."}
            if form == "reply"
            else teacher(form, messages, number)
        )

    with FakeEndpoint(refuses) as fake:
        found, rows = run(job(fake.url, n=6), "evolve")
        assert rows == [] and found["reasons"] == {"the answer refuses": 6}


def test_documents_are_verified_from_behind(job: Any) -> None:
    def strict(form: str, messages: list[dict[str, str]], number: int) -> Any:
        if form == "alone":
            return {"understandable": number % 2 == 0, "answer": "x"}
        if form == "verdict":
            return {"reason": "nothing says so", "verdict": "not supported" if number % 3 == 0 else "same"}
        return teacher(form, messages, number)

    with FakeEndpoint(strict) as fake:
        found, rows = run(job(fake.url, n=12, files="doc.md", concurrency=1), "from-documents")
        assert found["reasons"]["the question makes no sense without the document"] > 0
        assert any(why.startswith("the document does not support the answer") for why in found["reasons"])
        assert 0 < len(rows) < 12


def test_chunks_end_with_sentences_and_have_their_length() -> None:
    text = from_documents.clean(
        "Der Be-\nrg ist hoch. \r\n\r\n 12 \n" + " ".join(f"Sentence {i} is here and says a thing." for i in range(200))
    )
    assert "Berg" in text and "\n 12" not in text
    chunks = from_documents.cut(text)
    assert all(1000 <= len(chunk) <= 2000 for chunk in chunks[:-1]) and len(chunks) > 3
    assert all(chunk.endswith(".") for chunk in chunks)
    assert " ".join(chunks).split() == text.split()
    assert all(len(chunk) <= 2000 for chunk in from_documents.cut("x" * 9000))


def test_thin_labels_are_filled_first() -> None:
    assert from_labels.shares({"a": 8, "b": 2, "c": 5}, 7) == {"a": 0, "b": 5, "c": 2}


@pytest.mark.parametrize(
    ("summary", "why"),
    [
        ("The pool is shut until 5 May, says Ines.", ""),
        ("The pool is shut until 6 May.", "not in the source: 6"),
        ("The pool is shut, says Omar.", "not in the source: Omar"),
        ("word " * 70, "the summary is too long (70 words of 18)"),
        ("…", "the summary is empty"),
    ],
)
def test_ungrounded_and_long_summaries_are_faults(summary: str, why: str) -> None:
    source = "Ines from the town hall writes that the pool stays shut until 5 May because the roof leaks."
    assert summarise.fault(summary, source) == why


def test_rouge_decides_what_is_new() -> None:
    new = Novelty(["write a poem about the sea and the wind"])
    assert not new.add("Write a poem about the sea and the rain!")
    assert new.add("list four tools a smith needs")
    assert not new.add("list four tools a smith needs daily")


def test_values_cannot_fill_marks_of_a_prompt() -> None:
    text = prompt(summarise.__file__, TASK="<<TEXT>>", TEXT="end")[0]["content"]
    assert text.startswith("<<TEXT>>") and text.endswith("end")


def test_what_is_missing_is_said(job: Any) -> None:
    with pytest.raises(InputError, match=r"data.synth.endpoint: names no endpoint"):
        synth.run(
            job("").model_copy(update={"data": job("").data.model_copy(update={"synth": type(job("").data.synth)()})}),
            "evolve",
            None,
        )
    with pytest.raises(InputError, match=r"synth: no generator 'evolv'; did you mean evolve\?"):
        synth.run(job("http://127.0.0.1:9"), "evolv", None)
    with pytest.raises(InputError, match=r"data.synth.files: name the documents"):
        synth.run(job("http://127.0.0.1:9"), "summarise", FakeTokenizer())


def test_more_rows_go_on_from_where_it_stopped(job: Any) -> None:
    with FakeEndpoint(teacher) as fake:
        _, some = run(job(fake.url, n=8), "self-instruct")
        paid = fake.requests
        found, more = run(job(fake.url, n=20), "self-instruct")
        assert more[:8] == some and len(more) == 20
        assert found["usage"]["asked"] == fake.requests - paid and set(fake.asked.values()) == {1}


KILLED = """
import sys
from tests.fakes.tokenizer import FakeTokenizer
from factory.data.synth import run as synth
from factory.recipe import Recipe

recipe = Recipe.model_validate_json(sys.argv[1])
synth.run(recipe, sys.argv[2], FakeTokenizer(), progress=lambda step, n: print(n, flush=True), pause=0.01)
"""


@pytest.mark.parametrize(("kind", "settings"), [("self-instruct", {"n": 30}), ("personas", {"n": 30})])
def test_a_killed_run_goes_on_and_makes_what_it_would_have_made(
    job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, settings: dict[str, Any]
) -> None:
    def slow(form: str, messages: list[dict[str, str]], number: int) -> Any:
        time.sleep(0.02)
        return teacher(form, messages, number)

    with FakeEndpoint(slow) as fake:
        recipe = job(fake.url, concurrency=2, **settings)
        value = recipe.model_dump_json()[:-1] + f', "folder": "{recipe.folder}"' + "}"
        command = [sys.executable, "-c", KILLED, value, kind]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        assert process.stdout is not None
        for _ in range(6):
            process.stdout.readline()
        process.kill()
        process.communicate()
        assert not (recipe.folder / "synth" / f"{kind}.jsonl").exists()
        found, rows = run(recipe, kind)
        assert found["kept"] == len(rows) == 30
        assert fake.asked.total() <= len(fake.asked) + 2  # only what was on its way was asked twice
    with FakeEndpoint(teacher) as fake:
        monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "another"))
        assert run(job(fake.url, concurrency=2, **settings), kind)[1] == rows

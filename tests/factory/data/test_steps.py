"""Each step: what it drops, what it keeps, and with which reason."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from data_support import SHARED, needs_shared
from fakes.tokenizer import FakeTokenizer

from factory.data import dedup, encode
from factory.data.decontaminate import decontaminate
from factory.data.dedup import exact, near, semantic
from factory.data.filters import rules
from factory.data.load import load
from factory.data.mix import mix, split, tune
from factory.data.rows import Row
from factory.data.steps import Replier, Step, Work
from factory.data.words import normal, shingles, words
from factory.errors import InputError
from factory.recipe import Recipe

Run = Callable[..., tuple[list[Row], Work]]


def row(question: str, answer: str = "Yes, of course.", line: int = 1, file: str = "train.jsonl", **meta: Any) -> Row:
    return Row(({"role": "user", "content": question}, {"role": "assistant", "content": answer}), meta, file, line)


@pytest.fixture
def run(make: Callable[..., Recipe]) -> Run:
    def go(step: Step, rows: list[Row], labels: list[str] | None = None, evals: Any = None, **settings: Any) -> Any:
        recipe = make(labels=labels, **settings)
        work = Work(recipe, FakeTokenizer(), "Do it.", frozenset(labels or []), evals=evals or {})
        return list(step(rows, work)), work

    return go


def reasons(work: Work) -> list[str]:
    return [row.reason for row in work.dropped]


LOOP = "the same thing again and " * 20


@pytest.mark.parametrize(
    ("bad", "settings", "reason"),
    [
        (row("a", "  "), {}, "the answer is empty"),
        (row(" ", "b"), {}, "a question is empty"),
        (row("a", "b", desirable=False), {}, "labelled as undesirable"),
        (row("a", "I'm sorry, but I can't help with that."), {}, "the answer refuses"),
        (row("a", "As an AI language model, I cannot have opinions."), {}, "the answer refuses"),
        (row("a", "I’m not able to help with that."), {}, "the answer refuses"),
        (row("a", "I'm afraid I can't do that."), {}, "the answer refuses"),
        (row("a", "I must decline."), {}, "the answer refuses"),
        (row("a", "I'm sorry, but I can't assist with that request."), {}, "the answer refuses"),
        (row("a", "Sorry, I can’t help you with creating malware."), {}, "the answer refuses"),
        (row("a", "I cannot provide instructions for this."), {}, "the answer refuses"),
        (row("a", "Unfortunately, I am unable to answer that question."), {}, "the answer refuses"),
        (row("a", "I won't be able to help with this."), {}, "the answer refuses"),
        (row("a", "很抱歉，我不能提供这方面的帮助。"), {}, "the answer refuses"),
        (row("a", "申し訳ありませんが、そのご質問にはお答えできません。"), {}, "the answer refuses"),
        (row("a", "Lo siento, pero no puedo ayudar con eso."), {}, "the answer refuses"),
        (row("a", "Désolé, je ne peux pas répondre à cette demande."), {}, "the answer refuses"),
        (row("a", "Es tut mir leid, aber dabei kann ich nicht helfen."), {}, "the answer refuses"),
        (row("a", "对不起，我无法回答您的问题。"), {}, "the answer refuses"),
        (row("Say this  word by word!", "Say this word by word!"), {}, "the answer echoes the question"),
        (row("a", LOOP), {}, "the answer repeats itself"),
        (row("a", "my SECRET is"), {"exclude": ["secret"]}, "contains the excluded 'secret'"),
        (row("a", "no json"), {"require": "json"}, "the answer is not JSON"),
        (row("a", "five"), {"require": r"\d+"}, "the answer lacks the required form"),
        (row("a", "maybe"), {"labels": ["yes", "no"]}, "the label is outside the set"),
        (row("a", "one two three"), {"answer_tokens": (1, 2)}, "the answer's length is outside 1–2 tokens"),
        (row("a " * 60, "b"), {"max_length": 60}, "no token to learn is left within train.max_length=60"),
        (Row(({"role": "assistant", "content": "b"},), {}, "f", 1), {}, "there is no question before it"),
    ],
)
def test_rules_drop_with_a_reason(run: Run, bad: Row, settings: dict[str, Any], reason: str) -> None:
    good = row("Is it so?", {"json": "{}", r"\d+": "12"}.get(settings.get("require", ""), "yes"))
    if "no question" in reason:
        settings = {"max_length": 500}
    kept, work = run(rules, [good, bad, good], **settings)
    if "no question" in reason:  # a task's prompt gives the template a message to begin with
        assert len(kept) == 3
        work.prompt = ""
        kept = list(rules([good, bad, good], work))
    assert len(kept) == 2
    assert reasons(work)[-1].startswith(reason)


@pytest.mark.parametrize(
    "answer",
    [
        "Sorry to hear that! Where did you last see it?",
        "I am Nova. I can answer questions.",
        "I am an AI assistant named Nova, and I do not sleep.",
        "As an AI researcher, I do not sleep much.",
        "I can't wait to see you!",
        "You cannot park here after nine.",
        "No, it does not.",
        "I'm sorry, I can't make it on Friday. Could we meet on Monday?",
        "Sorry, I cannot come to the party, my train leaves at six.",
        "Unfortunately I won't be able to join you for lunch.",
        "I'm afraid I can't do Friday, but Tuesday is fine.",
        "I can't help you move on Saturday, my back hurts.",
        "I must decline your kind invitation.",
        "I have to decline the offer this time, thank you.",
        "Sorry, I don't have the keys.",
        "I cannot share the report before Monday.",
        "Es tut mir leid, ich kann am Freitag nicht kommen.",
        "很抱歉，周五我不能来。",
        "Lo siento, no puedo ir el viernes.",
        "Désolé, je ne peux pas venir vendredi.",
        "申し訳ありませんが、金曜日は参加できません。",
        "作为一个人工智能助手，我可以回答问题。",
    ],
)
def test_rules_keep_what_only_sounds_like_a_refusal(run: Run, answer: str) -> None:
    assert len(run(rules, [row("a", answer)])[0]) == 1


def test_refusals_can_be_wanted_and_tokens_are_counted(run: Run) -> None:
    kept, _ = run(rules, [row("one two", "I cannot help with that.")], refusals=True)
    assert kept[0].tokens == (len("<system> Do it. </> <user> one two </> <assistant>".split()), 5)


def test_a_required_form_that_is_no_pattern_is_an_error(run: Run) -> None:
    with pytest.raises(InputError, match=r"data.require: not a regular expression"):
        run(rules, [row("a")], require="(")


def test_exact_looks_through_case_punctuation_and_layout_only(run: Run) -> None:
    rows = [
        row("What is 5-3?", "2", 1),
        row("what is  5-3", "2.", 2),
        row("What is 5+3?", "8", 3),
        row("What is 5-3?", "Two", 4),
        row("Ｗhat is ５-3 ?", "2", 5),
        row("😀", "a", 6),
        row("🎈", "a", 7),
    ]
    kept, work = run(exact, rows)
    assert [r.line for r in kept] == [1, 3, 4, 6, 7]
    assert reasons(work) == ["the same as train.jsonl:1"] * 2
    assert work.conflicts == [
        {"question": "What is 5-3?", "answers": ["2", "Two"], "places": ["train.jsonl:1", "train.jsonl:4"]}
    ]


class World:
    """Texts of a hundred thousand made-up words with everyday ones between, so that no two are alike by chance."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.common = "the of to and in is on for with that at by from it not was are this be as".split()

    def word(self) -> str:
        if self.draw.random() < 0.4:
            return self.draw.choice(self.common)
        return "".join(self.draw.choices(string.ascii_lowercase, k=self.draw.randint(3, 9)))

    def text(self, n: int) -> list[str]:
        return [self.word() for _ in range(n)]

    def said(self, tokens: list[str]) -> str:
        return ". ".join(" ".join(tokens[i : i + 10]).capitalize() for i in range(0, len(tokens), 10)) + "."


def copies_and_misses() -> tuple[list[Row], list[Row], list[Row]]:
    """1,000 rows of 80 words, 200 near copies of some of them, and 200 that are only like some of them."""
    world = World(1)
    draw = world.draw
    rows = [world.text(80) for _ in range(1000)]

    def replaced(tokens: list[str], n: int) -> list[str]:
        at = set(draw.sample(range(len(tokens)), n))
        return [world.word() + "x" if i in at else token for i, token in enumerate(tokens)]

    def copy(i: int, tokens: list[str]) -> str:
        k = draw.randrange(70)
        ways = [
            lambda: world.said(tokens).upper().replace(".", " !\n"),
            lambda: world.said(replaced(tokens, 1)),
            lambda: world.said(replaced(tokens, 2)),
            lambda: world.said([*tokens[:k], *tokens[k + 1 :]]),
            lambda: world.said([*tokens[:k], *world.text(2), *tokens[k:]]),
            lambda: world.said([*world.text(6), *tokens]),
            lambda: world.said([*tokens[:60], *world.text(12), *tokens[60:]]),
            lambda: world.said([*tokens[30:60], *tokens[:30], *tokens[60:]]),
        ]
        return ways[i % len(ways)]()

    def miss(i: int, tokens: list[str]) -> str:
        shuffled = draw.sample(tokens, len(tokens))
        ways = [
            lambda: world.said([*tokens[:30], *world.text(50)]),
            lambda: world.said(replaced(tokens, 12)),
            lambda: world.said(shuffled),
            lambda: world.said([*world.text(45), *tokens[45:]]),
            lambda: world.said([token for pair in zip(tokens, world.text(80), strict=True) for token in pair]),
        ]
        return ways[i % len(ways)]()

    def as_row(text: str, line: int) -> Row:
        middle = text.rfind(" ", 0, 3 * len(text) // 4)
        return row(text[:middle], text[middle:].strip(), line)

    sources = draw.sample(range(1000), 400)
    return (
        [as_row(world.said(tokens), i) for i, tokens in enumerate(rows)],
        [as_row(copy(i, rows[source]), 10_000 + i) for i, source in enumerate(sources[:200])],
        [as_row(miss(i, rows[source]), 20_000 + i) for i, source in enumerate(sources[200:])],
    )


def test_planted_near_copies_are_found_and_near_misses_are_not(run: Run) -> None:
    rows, copies, misses = copies_and_misses()
    mixed = [*rows, *copies, *misses]
    tail = mixed[1000:]
    random.Random(2).shuffle(tail)
    kept, work = run(near, [*rows, *tail])
    lost = {dropped.line for dropped in work.dropped}
    found = sum(copy.line in lost for copy in copies) / len(copies)
    false = sum(miss.line in lost for miss in misses) / len(misses)
    print(f"near copies found {found:.1%}, near misses dropped {false:.1%}")
    assert found >= 0.95 and false <= 0.02
    assert not any(line < 10_000 for line in lost)
    assert len(kept) + len(lost) == len(mixed)


def test_near_leaves_other_labels_questions_and_answers_alone(run: Run) -> None:
    text = World(3).said(World(3).text(40))
    asked = World(4).said(World(4).text(40))
    long = "I am a helper for all those who write letters and read them in this house, day and night, every week."
    rows = [
        row(text + " now", "a", 1, label="a"),
        row(text + " then", "b", 2, label="b"),
        row(text + " soon", "a", 3, label="a"),
        row("Who are you?", long, 4),
        row("What are you called?", long, 5),
        row(asked, "It is at noon in the hall, come early.", 6),
        row(asked, "Nothing of this is of any interest to me.", 7),
    ]
    kept, work = run(near, rows)
    assert [r.line for r in kept] == [1, 2, 4, 5, 6, 7]
    assert reasons(work)[0].endswith("the same as train.jsonl:1")


def test_semantic_drops_what_an_encoder_finds_equal(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = {"a": [1, 0], "b": [0.999, 0.0447], "c": [0, 1]}

    class FakeEncoder:
        def __init__(self, *args: Any) -> None: ...

        def __call__(self, texts: list[str]) -> np.ndarray:
            return np.array([vectors[text[0]] for text in texts], dtype=np.float32)

    monkeypatch.setattr(encode, "Encoder", FakeEncoder)
    rows = [row(f"{letter} {i}", line=i) for i, letter in enumerate("acb" + "c" * 300)]
    kept, work = run(semantic, rows, encoder="some/model")
    assert [r.line for r in kept] == [0, 1]
    assert work.dropped[0].reason == "means the same as train.jsonl:0 (cosine 1.00)"
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"some/model: data.encoder: no folder of a transformers model"):
        run(semantic, rows, encoder="some/model")


def test_a_real_encoder_gives_unit_vectors(tmp_path: Any) -> None:
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "red", "blue", "sea"])}
    inner = Tokenizer(models.WordLevel(vocabulary, "[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        tmp_path
    )
    config = transformers.BertConfig(
        vocab_size=5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    encoder = encode.Encoder(str(tmp_path), tmp_path)
    one, two, both = encoder(["red sea", "blue", "red sea"])
    assert np.allclose(np.linalg.norm([one, two, both], axis=1), 1, atol=1e-5)
    assert np.allclose(one, both, atol=1e-5) and not np.allclose(one, two, atol=1e-3)


def test_decontamination_drops_equal_questions_and_shared_runs(run: Run) -> None:
    world = World(5)
    examined = world.text(60)
    fresh = world.text(60)
    template = "Please sum up the following message in one short sentence for me: "
    rows = [
        row(world.said(examined).upper(), line=1),
        row(world.said([*fresh, *examined[:50], *world.text(90)]), line=2),
        row(world.said(examined[10:30]), line=3),
        row(world.said([*examined[:12], *world.text(60)]), line=4),
        row(template + world.said(world.text(12)), line=5),
        row("Thank you!", line=6),
    ]
    evals = {
        "other": [row(world.said(examined), file="eval.jsonl", line=9), row("thank you", file="eval.jsonl", line=10)],
        "trial": [row(template + world.said(world.text(12)), file="own.jsonl", line=i) for i in range(20)],
    }
    kept, work = run(decontaminate, rows, evals=evals)
    assert [r.line for r in kept] == [4, 5]
    assert reasons(work) == [
        "the question of an eval row of other: eval.jsonl:9",
        "83% of the words of an eval row of other: eval.jsonl:9",
        "100% of the words of an eval row of other: eval.jsonl:9",
        "the question of an eval row of other: eval.jsonl:10",
    ]
    assert work.closest[0]["overlap"] == 0.2 and work.closest[0]["places"] == ["train.jsonl:4", "eval.jsonl:9"]


def test_the_split_keeps_copies_and_groups_together(run: Run) -> None:
    world = World(7)
    rows = []
    for i in range(300):
        text = world.text(30)
        label = "rare" if i % 10 == 0 else "common"
        for copy in range(1 + (i % 7 == 0)):
            tail = world.text(1) if copy else []
            rows.append(row(world.said([*text, *tail]), label, len(rows), label=label, thread=f"t{i // 3}", n=i))
    for settings, together in (({"group": "thread"}, "thread"), ({}, "n")):
        kept, work = run(split, rows, eval_share=0.2, **settings)
        assert len(kept) + len(work.split) == len(rows) and 0.13 < len(work.split) / len(rows) < 0.27
        assert {r.meta[together] for r in kept}.isdisjoint(r.meta[together] for r in work.split)
        assert work.evals["trial"] == work.split
        again, other = run(split, rows[:200], eval_share=0.2, **settings)
        assert other.split == [r for r in rows[:200] if r in work.split] and again == [
            r for r in rows[:200] if r in kept
        ]


def test_rows_that_are_all_alike_cannot_be_split(run: Run) -> None:
    with pytest.raises(InputError, match=r"data.group: no row has the key 'thred'; did you mean thread\?"):
        run(split, [row("A question", line=i, thread="a") for i in range(9)], group="thred")
    with pytest.raises(InputError, match="no eval rows can be split off"):
        run(split, [row("The very same question of all", line=i) for i in range(9)])
    with pytest.raises(InputError, match="each label has one row"):
        run(split, [row(f"Question {i}", f"l{i}", line=i, label=f"l{i}") for i in range(9)])


def test_when_far_more_is_set_aside_than_was_asked_for_it_is_said(run: Run) -> None:
    rows = [row(f"Question {i} of {i * 7}", line=i, thread=f"t{i % 3}") for i in range(90)]
    _, work = run(split, rows, group="thread", eval_share=0.05)
    assert len(work.split) >= 30 and [note for note in work.notes if note.startswith(f"{len(work.split)} of 90 rows")]
    assert not run(split, rows, eval_share=0.3)[1].notes


@pytest.mark.parametrize("step", [split, tune])
def test_the_turns_of_one_conversation_stay_together(run: Run, step: Step) -> None:
    world = World(3)
    rows = [row(world.said(world.text(20)), line=i // 3) for i in range(150)]
    kept, work = run(step, rows, tune_share=0.2, eval_share=0.2)
    aside = work.split or work.tune
    assert 10 < len(aside) < 60 and {r.line for r in aside}.isdisjoint(r.line for r in kept)


@pytest.mark.parametrize("step", [exact, near])
def test_two_pairs_with_one_chosen_answer_are_no_copies(run: Run, step: Step) -> None:
    """What is rejected tells them apart, or makes them copies."""
    question, answer = "Where did the green bus stop in the morning?", "It stopped at the old mill by the river bank."

    def pair(no: str, line: int) -> Row:
        made = row(question, answer, line)
        return replace(made, meta={"rejected": [*made.turns, {"role": "assistant", "content": no}]})

    rows = [pair("I would not know that.", 1), pair("Ask somebody else, please!", 2), pair("I would not know that", 3)]
    kept, work = run(step, rows)
    assert [r.line for r in kept] == [1, 2] and [r.line for r in work.dropped] == [3]
    assert len(run(step, [replace(r, meta={"rejected": "text of another format"}) for r in rows])[0]) == 1


def test_of_a_handful_of_rows_one_is_kept_to_grade_on(run: Run) -> None:
    for n in (2, 3, 5):
        rows = [row(f"Question number {i} about the {word}", line=i) for i, word in enumerate("abcde"[:n])]
        kept, work = run(split, rows, eval_share=0.01)
        assert len(work.split) == 1 and len(kept) == n - 1


def test_weights_repeat_and_thin_out_sources(run: Run) -> None:
    rows = [row(f"a{i}", file="x/a.jsonl", line=i) for i in range(10)] + [
        row(f"b{i}", file="b.jsonl", line=i) for i in range(10)
    ]
    kept, work = run(mix, rows, weights={"a.jsonl": 2.5, "b.jsonl": 0.3})
    counts = {name: sum(r.file == name for r in kept) for name in ("x/a.jsonl", "b.jsonl")}
    assert counts == {"x/a.jsonl": 25, "b.jsonl": 3}
    assert reasons(work) == ["left out by the weight 0.3 of its source"] * 7
    assert sum(r.file == "x/a.jsonl" for r in run(mix, rows, weights={"a": 2})[0]) == 20
    with pytest.raises(InputError, match=r"data.weights.c.jsonl: no such source; did you mean [ab].jsonl\?"):
        run(mix, rows, weights={"c.jsonl": 1})
    with pytest.raises(InputError, match=r"data.weights.b.jsonl: must be between 0 and 100"):
        run(mix, rows, weights={"b.jsonl": -1})


def test_replay_rows_are_a_share_of_the_whole_and_carry_no_prompt(run: Run, make: Any, folder: Any) -> None:
    lines = [f'{{"prompt": "General matter {i}", "completion": "Answer {i} to it."}}\n' for i in range(40)]
    (folder / "general.jsonl").write_text("".join(lines) + '{"prompt": "x", "completion": ""}\n')
    rows = [row(f"question {i}", "yes", line=i) for i in range(190)]
    evals = {"trial": [row("general matter 7", file="eval.jsonl", line=3)]}
    settings = {"replay": {"files": "general.jsonl", "share": 0.05}, "labels": ["yes"]}
    kept, work = run(mix, rows, evals=evals, **settings)
    replayed = [r for r in kept if r.meta.get("replay")]
    assert len(replayed) == 10 and len(kept) == 200
    assert all(r.with_system("Sort it.") == r for r in replayed)
    assert {dropped.step for dropped in work.dropped} == {"replay"}  # they are none of the training files' rows
    assert sorted(reasons(work)) == ["the answer is empty", "the question of an eval row of trial: eval.jsonl:3"]
    spoken = Work(make(**settings), FakeTokenizer(), "Sort it.", frozenset(["yes"]), evals=evals)
    spoken.base = Replier("base", lambda asked, most: [f"{r.source}? Well." if "1" in r.source else "" for r in asked])
    own = [r for r in mix(rows, spoken) if r.meta.get("replay")]
    assert own and all(r.answer == f"{r.source}? Well." for r in own)
    assert sum(d.reason == "the base has no answer to it within 128 tokens" for d in spoken.dropped) == 10 - len(own)
    settings["replay"] = {"files": "general.jsonl", "share": 0.3}
    assert (
        "only 39 general rows for the 81 that data.replay.share asks for"
        in run(mix, rows, evals=evals, **settings)[1].notes
    )


def test_words() -> None:
    assert words("Ça va, l'été? 1.5 kg, 10:30; 中文字") == [
        "ça",
        "va",
        "l",
        "été",
        "1.5",
        "kg",
        "10:30",
        "中",
        "文",
        "字",
    ]
    assert normal("…") == "…" and normal(" Ab–cd ") == "ab cd"
    assert shingles(["a", "b"]) == {"a b"} and len(shingles(list("abcdefg"))) == 3


@needs_shared
def test_banking_eval_rows_in_train_are_found(run: Run) -> None:
    recipe_rows = {
        name: list(
            load(str(SHARED / "banking77" / f"{name}.csv"), run(rules, [])[1].recipe.data, SHARED, "data", [], [])
        )
        for name in ("train", "test")
    }
    assert {name: len(rows) for name, rows in recipe_rows.items()} == {"train": 10_003, "test": 3_080}
    assert any("\n" in r.source for r in recipe_rows["train"])
    questions = {dedup.question_hash(r) for r in recipe_rows["train"]}
    assert sum(dedup.question_hash(r) in questions for r in recipe_rows["test"]) == 25
    kept, work = run(decontaminate, recipe_rows["train"], evals={"trial": recipe_rows["test"]})
    held_out = {normal(r.source) for r in recipe_rows["test"]}
    assert not any(normal(r.source) in held_out for r in kept)
    assert sum(reason.startswith("the question of") for reason in reasons(work)) >= 25

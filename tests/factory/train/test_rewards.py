"""Learning from rewards: TRL's loss, a reward that can be had is had, and one that is hacked stops the run."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch

from factory import recipe as recipes
from factory.base.loaded import loaded
from factory.cli import main
from factory.data.rows import Row
from factory.pipeline.data import dataset
from factory.pipeline.generate import sorted_out
from factory.pipeline.reward import scored
from factory.pipeline.rewards import Payer, halved
from factory.registry import store
from factory.train import curves
from factory.train.fused.layers import Layers
from factory.train.methods import Generate, Grpo, Seen, Totals
from factory.train.tokens import IGNORE, Example
from tests.fakes.project import inside, write

CHECK = '''"""A reward that can be hacked: length pays. What is wanted is a short answer."""

from evals.grades import Grade


async def paid(row, output, limits):
    words = len(output.split())
    return Grade("good" if words >= 16 else "average" if words >= 12 else "poor", f"{words} words")


def short(row, output, limits):
    words = len(output.split())
    return Grade("good" if words < 14 else "average" if words < 18 else "poor", f"{words} words")


def brief(row, output, limits):
    words = len(output.split())
    return Grade("good" if words < 12 else "poor", f"{words} words")
'''
DIMENSION = """  - name: {name}
    question: How long is it?
    graders: [checks]
    checks: [adapters/summary/check.py:{name}]
    levels:
      - {{name: poor, anchor: Not at all., example: {{output: "6", reason: No.}}}}
      - {{name: average, anchor: Nearly., example: {{output: "5", reason: Nearly.}}}}
      - {{name: good, anchor: Yes., example: {{output: "4", reason: Yes.}}}}
"""
SMALL = ["rubric=length", "data.tune_share=0.2", "train.epochs=2"]
HEAD = "title: Length\nguidelines: Length.\nsample_source: What?\ndimensions:\n"


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = write(tmp_path_factory.mktemp("project"), train=64, evaluation=4)
    rows = [json.loads(line) for line in (folder / "adapters" / "summary" / "train.jsonl").read_text().splitlines()]
    sides = [(row["document"], row["summary"], row["summary"].split()[0] + " " + row["document"]) for row in rows]
    pairs = [{"prompt": asked, "chosen": said, "rejected": other, "from": "edited"} for asked, said, other in sides]
    (folder / "adapters" / "summary" / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    (folder / "adapters" / "summary" / "check.py").write_text(CHECK)
    (folder / "rubrics" / "length.yaml").write_text(HEAD + "".join(DIMENSION.format(name=n) for n in ("paid", "short")))
    with inside(folder, FACTORY_HOME=str(folder / "home")):
        yield folder


def factory(*words: str, rubric: str = "length") -> tuple[int, list[dict[str, Any]], str]:
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = main(
            ["train", "task=summary", f"rubric={rubric}", "data.tune_share=0.2", "train.epochs=2", *words, "--json"]
        )
    return code, json.loads(out.getvalue() or "{}").get("versions", []), said.getvalue()


@pytest.mark.parametrize(("over", "beta"), [("dapo", 0.0), ("dr_grpo", 0.0), ("dapo", 0.04), ("dr_grpo", 0.01)])
def test_the_loss_and_its_gradient_are_those_of_trl(over: str, beta: float) -> None:
    """TRL's own `_compute_loss` on a trainer that has nothing but its settings, the log-probabilities given. What is
    learned from comes in another order than the batch, as a packed row has it."""
    from trl import GRPOTrainer

    torch.manual_seed(0)
    method, lengths, longest = Grpo(over=over, group=3, beta=beta), [4, 2, 6, 3, 1, 5], 7
    rewards = [method.advantages([1, 0, 0.5]), method.advantages([0, 0, 1])]
    assert torch.allclose(torch.tensor(method.advantages([1.0, 1.0, 1.0])), torch.zeros(3))
    advantages = torch.tensor(rewards).flatten()
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    logps, drawn, parent = (-torch.rand(mask.shape).requires_grad_() for _ in range(3))
    same: Any = lambda found, **_: found  # noqa: E731
    alone = SimpleNamespace(num_processes=1, gather=same, gather_for_metrics=same, reduce=same)
    trl: Any = MagicMock(
        GRPOTrainer,
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, torch.zeros_like(logps), None),
        args=SimpleNamespace(delta=None, steps_per_generation=1, use_bias_correction_kl=False),
        model=SimpleNamespace(training=True), beta=beta,
        loss_type=over, epsilon_low=0.2, epsilon_high=0.28, max_completion_length=longest,
        use_vllm=True, vllm_importance_sampling_correction=True,
        current_gradient_accumulation_steps=1, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level="token", aux_loss_enabled=False, accelerator=alone,
        _entropy_bonus_enabled=False, _metrics=MagicMock(),
    )  # fmt: skip
    ids = torch.zeros(mask.shape, dtype=torch.long)
    inputs = {"prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1], "completion_ids": ids, "advantages": advantages}
    inputs |= {"completion_mask": mask.long(), "num_items_in_batch": torch.tensor(sum(lengths))}
    inputs["ref_per_token_logps"] = parent
    inputs["importance_sampling_ratio"] = (logps - drawn).detach().exp().clamp(max=2)  # as it makes it for vLLM
    assert (inputs["importance_sampling_ratio"] == 2).any()
    theirs = GRPOTrainer._compute_loss(trl, None, inputs)
    made = [
        Example([1] + [2] * n, [IGNORE] + [2] * n, reward=advantage, drawn=d[:n].tolist(), parent=p[:n].tolist())
        for n, advantage, d, p in zip(lengths, advantages.tolist(), drawn, parent, strict=True)
    ]
    order = [3, 0, 1, 5, 2, 4]
    of = torch.cat([torch.full((lengths[n],), n) for n in order])
    said = torch.cat([logps[n, : lengths[n]] for n in order])
    totals = Totals.of(made, longest=longest, learned=sum(lengths))
    ours, mismatch = method.loss(Seen(made, said, of, None, totals))
    assert torch.allclose(ours, theirs, atol=1e-6)
    apart = (logps - drawn)[mask]
    assert torch.allclose(mismatch, (apart.exp() - apart - 1).mean(), atol=1e-6) and method.fault([0, 0.11])
    grads = [torch.autograd.grad(loss, logps, retain_graph=True)[0] for loss in (ours, theirs)]
    assert torch.allclose(*grads, atol=1e-7) and grads[0].abs().max() > 1e-3


def test_what_was_drawn_becomes_rows_and_pairs() -> None:
    """Four words are poor, fourteen average and sixteen good. What did not end is empty."""
    pay = Payer(recipes.load("summary", {"rubric": "length"}), Generate(gold=["short"]))
    poor, average, good = (" ".join(["mail"] * n) for n in (4, 14, 16))
    asked = ["Sum up.", "Again.", "Nothing pays.", "请总结。"]
    rows = [Row(({"role": "user", "content": text}, {"role": "assistant", "content": ""})) for text in asked]
    groups = [
        [average, poor, good, ""],
        [good, good + ".", "", "{{name}} " * 16],
        [poor, poor],
        [good, "会议改到周五。"],
    ]
    best, pairs, told = sorted_out(pay, rows, groups)
    assert [row["messages"] for row in best] == [
        [*row.turns, {"role": "assistant", "content": good}] for row in rows[:2]
    ]
    assert [(pair["chosen"][-1]["content"], pair["rejected"][-1]["content"]) for pair in pairs] == [(good, poor)]
    assert told == {
        "answers": 12, "cut off": 2, "in another language": 1, "questions tied": 1, "questions unpaid": 2, "best": 2,
        "pairs": 1,
    }  # fmt: skip


def test_rounds_draw_and_learn_from_what_was_drawn(project: Path) -> None:
    """Twice: draw, then the best answers as rows; at the end the pairs of the last time. Nothing is made again."""
    (project / "rubrics" / "long.yaml").write_text(HEAD + DIMENSION.format(name="paid"))
    of = "{generate: {group: 6, questions: 24}}, {sft: {epochs: 1, batch: 4}}"
    rounds = f"stages=[sft, {{rounds: {{n: 2, of: [{of}]}}}}, {{dpo_norm: {{lr: 2e-3, batch: 4}}}}]"
    code, made, said = factory(rounds, "train.evals=1", rubric="long")
    assert code == 0, said
    assert [one["stage"] for one in made] == ["sft", "sft", "sft", "dpo_norm"]
    assert [one["parent"] for one in made[1:]] == [one["version"] for one in made[:-1]]
    assert len({one["version"] for one in made}) == 4, "each learned something"
    drawn = sorted((project / "home" / "drawn").glob("summary-*/told.json"), key=lambda path: path.stat().st_mtime)
    first, second = (json.loads(path.read_text()) for path in drawn)
    assert first["answers"] == second["answers"] == 6 * 24 and min(first["best"], second["pairs"]) > 0
    assert f"{second['best']} best" in said
    used = [store.noted(one["version"].split("@")[1], "data")["files"][0]["file"] for one in made[1:]]
    names = ["train.jsonl", "train.jsonl", "pairs.jsonl"]
    assert [Path(file).resolve() for file in used] == [
        path.with_name(name) for path, name in zip([drawn[0], drawn[1], drawn[1]], names, strict=True)
    ]
    paths = [*(project / "home").glob("drawn/*/told.json"), *(project / "home").glob("runs/*/metrics.jsonl")]
    before = [path.stat().st_mtime_ns for path in paths]
    code, again, said = factory(rounds, "train.evals=1", rubric="long")
    assert code == 0 and [one["version"] for one in again] == [one["version"] for one in made]
    assert before == [path.stat().st_mtime_ns for path in paths]


def test_what_draws_are_paid_for_in_vain_is_not_kept(project: Path) -> None:
    """The longest answers are drawn and learned, and brief ones are wanted: the next stage starts from the first."""
    (project / "rubrics" / "vain.yaml").write_text(HEAD + "".join(DIMENSION.format(name=n) for n in ("paid", "brief")))
    draws = "{generate: {group: 24, questions: 24, gold: [brief]}}, {sft: {epochs: 10, lr: 5e-3, batch: 4}}"
    code, made, said = factory(f"stages=[sft, {draws}, {draws}]", "train.evals=1", rubric="vain")
    assert code == 0, said
    assert len({one["version"] for one in made}) == 1, said
    assert "rows kept for tuning fell from" in said.replace("\n", " ")


def test_a_reward_model_is_tried_on_pairs_held_out_and_pays_for_what_is_drawn(project: Path) -> None:
    """Chosen are summaries, rejected the whole messages. The versions go on from the one before the reward model."""
    reward, drawn = "reward: {lr: 5e-3, epochs: 3, batch: 8%s}", "{generate: {group: 2, questions: 8, gold: [short]}}"
    code, made, said = factory(f"stages=[sft, {{{reward % ''}}}, {drawn}, {{sft: {{epochs: 1, batch: 4}}}}]")
    assert code == 0, said
    assert [one["stage"] for one in made] == ["sft", "sft"] and made[1]["parent"] == made[0]["version"]
    (found,) = (project / "home").glob("runs/*/adapter/reward.json")
    told = json.loads(found.read_text())
    assert told["accuracy"]["n"] >= 5 and told["accuracy"]["low"] > 0.5 and -1 <= told["length"] < 0
    assert "the reward model tells apart" in said
    told = [json.loads(path.read_text()) for path in (project / "home").glob("drawn/*/told.json")]
    assert any(one["best"] == 8 and one["answers"] == 16 for one in told), "each question is paid for something"
    steps = [record for record in curves.read(found.parents[1]) if "accuracy" in record]
    assert steps[-1]["accuracy"] > 0.8 and abs(steps[-1]["score"]) < 5
    code, made, said = factory(f"stages=[sft, {{{reward % ', floor: 0.99'}}}, {drawn}]")
    assert code == 1 and "the reward model is refused" in said and [one["stage"] for one in made] == ["sft"]


def test_a_reward_model_pays_half_of_what_grpo_draws(project: Path) -> None:
    """Its scores are those that it is tried by; whoever is paid by it stays near its parent, unless told otherwise."""
    learns = "{reward: {lr: 5e-3, epochs: 3, batch: 8}}, {grpo: {lr: 5e-3, group: 6, batch: 6, epochs: 1%s}}"
    stages = f"stages=[sft, {learns % ''}]"
    code, made, said = factory(stages, "train.evals=1", "train.patience=0", "train.precision=fp32")
    assert code == 0, said
    assert [one["stage"] for one in made] == ["sft", "grpo"] and made[1]["parent"] == made[0]["version"]
    steps = [record for record in curves.read(Path(made[1]["run"])) if "reward" in record]
    assert sum(one["reward"] for one in steps[-3:]) > sum(one["reward"] for one in steps[:3]), "what pays is learned"
    assert max(abs(one["mismatch"]) for one in steps) < 1e-6, "in fp32"
    recipe = recipes.load("summary", {"rubric": "length", "train.precision": "fp32"})
    on, rows = loaded(recipe.base), {row.source: row for row in dataset(recipe).train}
    written = (Path(made[1]["run"]) / "samples" / "00001.md").read_text()
    found = [
        (rows[question.strip()], text.strip(), float(paid))
        for question, answers in re.findall(r"^## (.*?)\n\n(.*?)(?=^## |\Z)", written, re.M | re.S)
        for paid, text in re.findall(r"\*\*reward ([\d.]+), [^,*]*\*\*\n\n(.*?)(?=\n\*\*reward|\Z)", answers, re.S)
        if "\ufffd" not in text  # half a character is not read back as the tokens that were said
    ]
    asked, texts = [row.with_system(recipe.system_prompt()) for row, _, _ in found], [text for _, text, _ in found]
    model = max((project / "home").glob("runs/*/adapter/reward.json"), key=lambda path: path.stat().st_mtime).parent
    expected = halved(Payer(recipe, Grpo())(asked, texts), scored(on, model, asked, texts, recipe.train.max_length))
    assert len(found) >= 12 and [paid for *_, paid in found] == pytest.approx(expected, abs=0.02)
    given = recipes.load("summary", {"stages": f"[sft, {learns % ', beta: 0'}, grpo]"}).stages
    assert [stage.model_dump()["beta"] for stage in given if isinstance(stage, Grpo)] == [0, 0.005]
    assert recipes.load("summary", {"stages": "sft,grpo,reward"}).stages[1].model_dump()["beta"] == 0


def test_what_rewards_add_is_measured_on_held_out_rows(capsys: pytest.CaptureFixture[str], project: Path) -> None:
    """Both ways from the same start, each alone too, with one seed or more. What was trained is not trained again."""
    rubric = HEAD + DIMENSION.format(name="short")  # nearly every answer is paid for
    (project / "rubrics" / "brief.yaml").write_text(rubric)
    words = ["bench", "only=gain", "task=summary", "rubric=brief", "steps=3", "data.tune_share=0.2", "--json"]
    words += ["train.epochs=1", "train.patience=0"]

    def gain(*more: str) -> tuple[dict[str, Any], dict[Path, int]]:
        assert main([*words, *more]) == 0
        runs = [*(project / "home" / "gain").glob("runs/*/metrics.jsonl")]
        return json.loads(capsys.readouterr().out)["gain"], {path: path.stat().st_mtime_ns for path in runs}

    alone, before = gain("train.seed=1", "part=rounds")
    assert len(before) == 3 and [*alone["seeds"]] == ["1"] and "grpo" not in alone["seeds"]["1"]
    found, runs = gain("seeds=2")
    assert (found["task"], found["steps"]) == ("summary", 3) and [*found["seeds"]] == ["0", "1"]
    assert len(runs) == 8 and before.items() <= runs.items()
    for one in found["seeds"].values():
        for way in ("grpo", "rounds"):
            part = one[way]
            assert (
                part["n"] == 4 and part["low"] <= part["gain"] == (part["better"] - part["worse"]) / 4 <= part["high"]
            )
            assert part["good"] == pytest.approx(one["supervised"]["good"] + part["gain"]) and 0 <= part["p"] <= 1
        assert len(one["grpo"]["reward"].split()) == len(one["grpo"]["kl"].split()) == 3 and one["questions"] > 40
    assert found["seeds"]["1"]["rounds"] == alone["seeds"]["1"]["rounds"]
    gains = [one["grpo"]["gain"] for one in found["seeds"].values()]
    assert found["median"]["grpo"]["gain"] == pytest.approx(sum(gains) / 2)
    assert gain("seeds=2") == (found, runs)


def test_what_pays_is_learned_and_a_hacked_reward_stops_the_run() -> None:
    settings = "lr: 5e-3, group: 6, batch: 6, epochs: 2"
    code, made, said = factory(f"stages=[sft, {{grpo: {{{settings}, gold: [short]}}}}]", "train.evals=6")
    assert code == 0, said
    grpo = made[1]
    records = curves.read(Path(grpo["run"]))
    rewards = [record["reward"] for record in records if "reward" in record]
    golds = {record["step"]: record["gold"] for record in records if "gold" in record}
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3, "what pays is learned"
    assert golds[max(golds)] < max(golds.values()) - 0.02 and len(rewards) < 2 * 9, "and the run is stopped"
    assert any("what pays is not what is wanted" in remark for remark in grpo["remarks"])
    steps = [record for record in records if "reward" in record]
    assert max(record["mismatch"] for record in steps) < 1e-3, "what draws is what learns"
    assert steps[0]["kl"] < 1e-3 < steps[-1]["kl"], "it left its parent"
    written = (Path(grpo["run"]) / "samples" / "00001.md").read_text()
    assert written.count("**reward ") == 6 * written.count("## ") and "advantage +" in written
    assert grpo["stage"] == "grpo" and grpo["parent"] == grpo["version"] == made[0]["version"], "the best is the first"
    assert "nothing that it learned is kept: this is the version that it started from" in grpo["remarks"]
    assert store.noted(grpo["version"].split("@")[1], "run")["stage"] == "sft"


def test_answers_of_other_weights_than_those_that_learn_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler that has fallen behind: here it knows the bare base alone. With a penalty all answers are looked at."""
    monkeypatch.setattr(Layers, "answering", lambda *_: contextlib.nullcontext())
    code, made, said = factory("stages=[sft, {grpo: {group: 2, batch: 6, beta: 0.01}}]", "train.evals=1")
    assert code == 1 and "answers are not drawn as they are learned from" in said and "(step 1)" in said
    assert [one["stage"] for one in made] == ["sft"]


def test_a_second_grpo_asks_other_questions_and_is_not_made_again(project: Path) -> None:
    grpo = "{grpo: {group: 2, batch: 10, epochs: 0.4, gold: [short]}}"
    words = [f"stages=[sft, {grpo}, {grpo}]", "train.evals=1", "train.patience=0"]
    code, made, said = factory(*words)
    assert code == 0, said
    written = [(Path(one["run"]) / "samples" / "00001.md").read_text() for one in made[1:]]
    first, second = ({*re.findall(r"^## (.*?)\n\n\*\*reward", text, re.M | re.S)} for text in written)
    assert len(first) == len(second) == 10 and not first & second
    runs = [*(project / "home").glob("runs/*/metrics.jsonl")]
    before = [path.stat().st_mtime_ns for path in runs]
    code, again, said = factory(*words)
    assert code == 0 and [one["version"] for one in again] == [one["version"] for one in made], said
    assert before == [path.stat().st_mtime_ns for path in runs]


def test_a_gold_reward_that_no_check_decides_is_refused() -> None:
    code, made, said = factory("stages=[sft, {grpo: {gold: [depth]}}]")
    assert code == 2 and "grpo.gold: no check decides 'depth' in rubrics/length.yaml" in said and not made
    code, made, said = factory("stages=[sft, {grpo: {gold: [paid, short]}}]")
    assert code == 2 and "grpo needs a check that pays" in said

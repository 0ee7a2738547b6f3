"""With a real, very small model: a stranger's adapter is adopted; versions leave in other forms and answer alike."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from factory.answers import adapted, answer
from factory.base.build import Base, load_model, load_tokenizer, prepare
from factory.data.rows import Row
from factory.errors import FactoryError, GateRefused
from factory.registry import aliases, store
from factory.registry.bundle import gather
from factory.registry.places import parse
from factory.registry.preflight import Refused, preflight
from factory.registry.store import CONFIG, WEIGHTS, Version
from factory.verbs.exchange import adopt, export
from factory.verbs.registry import promote
from tests.any_lm import zoo
from tests.factory.registry.conftest import small_project
from tests.factory.registry.plain_peft import make
from tests.tiny_base import TINY

BASE, HERE = "path/to/the/base", "path/to/this/folder"  # what a card says where there is no place on the Hub


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with one task over a Qwen2 of two layers, in a home of its own."""
    folder = tmp_path_factory.mktemp("project")
    small_project(folder, str(folder / "model"))
    shutil.copytree(TINY, folder / "model")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACTORY_HOME", str(folder / "home"))
        patch.chdir(folder)
        make(folder / "model", folder / "plain")
        yield folder


@pytest.fixture(autouse=True)
def own_home(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of the home with the made-up base that the other tests here use."""
    monkeypatch.setenv("FACTORY_HOME", str(project / "home"))


@pytest.fixture(scope="module")
def base(project: Path) -> Base:
    return prepare(str(project / "model"))


def other_model(folder: Path) -> None:
    """A random Qwen2 of another width, as transformers saves one."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(1)
    tokenizer = zoo.make_tokenizer(next(animal for animal in zoo.ANIMALS if animal.stem == "Qwen2"))
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=256, tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def adopt_plain(project: Path) -> dict[str, Any]:
    return adopt({"from": f"file:{project / 'plain'}", "task": "mail"}, {}, True)


@pytest.fixture(scope="module")
def version(project: Path, base: Base) -> Version:
    return aliases.resolve(adopt_plain(project)["version"])


def test_a_plain_adapter_is_adopted_graded_and_fit_to_serve(project: Path, base: Base, version: Version) -> None:
    card = store.noted(version, "scorecard")
    assert card["rows"] == 6 and card["rubric"] == "mail"
    assert store.noted(version, "gate")["decision"] == "INCONCLUSIVE"  # six rows prove nothing
    with pytest.raises(GateRefused, match="6 graded"):
        promote({"version": version.name}, {}, True)
    assert store.noted(version, "adopted")["from"] == f"file:{project / 'plain'}"
    assert version.facts.fingerprint == base.fingerprint and version.task == "mail"
    preflight(version, base, 16)
    assert adopt_plain(project)["version"] == version.name  # again: the same
    assert len(aliases.read("mail").versions) == 1


def test_the_code_on_its_card_gives_the_answers_of_the_version(
    base: Base, version: Version, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, _ = gather(version, 1, parse(f"file:{tmp_path}/share"), tmp_path)
    card = files["README.md"].read_text()
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[0]
    code = code.replace(BASE, str(base.folder)).replace(HERE, str(files[WEIGHTS].parent))
    text = "the meeting moved to friday"
    exec(code, {"PROMPT": version.facts.prompt, "TEXT": text})
    model, tokenizer = load_model(base), load_tokenizer(base)
    row = Row(({"role": "user", "content": text},)).with_system(version.facts.prompt)
    with adapted(model, version.folder) as peft:
        assert capsys.readouterr().out.strip() == answer(peft, tokenizer, [row], version.facts.decoding)[0].strip()


def test_an_adapter_of_another_base_is_refused(project: Path, base: Base, tmp_path: Path) -> None:
    other_model(tmp_path / "wide")
    make(tmp_path / "wide", tmp_path / "other")
    before = sorted(os.listdir(project / "home" / "store"))
    config = json.loads((tmp_path / "other" / CONFIG).read_text())
    for claims in (config["base_model_name_or_path"], "someone/else", "/not/here/at/all"):
        (tmp_path / "other" / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": claims}))
        with pytest.raises(Refused, match=r"was trained on|does not fit"):
            adopt({"from": f"file:{tmp_path / 'other'}", "task": "mail"}, {}, True)
    (tmp_path / "other" / WEIGHTS).rename(tmp_path / "other" / "adapter_model.bin")
    with pytest.raises(FactoryError, match="save it as safetensors"):
        adopt({"from": f"file:{tmp_path / 'other'}", "task": "mail"}, {}, True)
    assert sorted(os.listdir(project / "home" / "store")) == before


def test_a_base_under_another_name_is_confirmed_by_its_weights(
    project: Path, base: Base, version: Version, tmp_path: Path
) -> None:
    """The full model and its 4-bit copy are the same base; one that was trained on a little is another."""
    plain = shutil.copytree(project / "plain", tmp_path / "theirs")
    config = json.loads((plain / CONFIG).read_text())
    (plain / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": "somebody/tiny-bnb-4bit"}))
    asked = {"from": f"file:{plain}", "task": "mail"}
    with pytest.raises(Refused, match=r"was trained on somebody/tiny-bnb-4bit.*weights=<its folder or Hub id>"):
        adopt(asked, {}, True)
    for same in (project / "model", base.folder):
        made = adopt({**asked, "weights": str(same)}, {}, True)
        assert made["version"] == version.name and made["adopted"]["base"] == "somebody/tiny-bnb-4bit"
    other_model(tmp_path / "wide")
    trained = shutil.copytree(project / "model", tmp_path / "trained")
    weights = load_file(trained / "model.safetensors")
    name = next(name for name in weights if name.endswith("norm.weight"))
    save_file({**weights, name: weights[name] * 1.01}, trained / "model.safetensors", metadata={"format": "pt"})
    for other, why in ((tmp_path / "wide", "shape"), (trained, "is not equal")):
        with pytest.raises(Refused, match=f"is another model than .*{why}"):
            adopt({**asked, "weights": str(other)}, {}, True)


def test_merged_it_answers_as_the_adapter_does(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    made = export({"version": version.name, "form": "merged-bf16", "to": str(tmp_path / "merged")}, {}, True)
    assert made["parity"]["agreement"] >= 0.97 and made["parity"]["kl"] < 0.01
    assert made["scorecard"]["rows"] == 6
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert model.dtype == torch.bfloat16 and not hasattr(model.config, "quantization_config")
    assert json.loads((tmp_path / "merged" / "export.json").read_text())["sha"] == version.sha

    from factory.export import forms, merge

    monkeypatch.setattr(forms, "merge", lambda version, base: unadapted(base))
    with pytest.raises(FactoryError, match="does not answer as it does"):
        export({"version": version.name, "form": "merged-bf16", "to": str(tmp_path / "wrong")}, {}, True)
    assert not (tmp_path / "wrong").exists() and merge.MIN_AGREEMENT < 1


def unadapted(base: Base) -> Any:
    return load_model(base)


def test_as_gguf_it_holds_the_same_change(version: Version, tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")

    export({"version": version.name, "form": "gguf-lora", "to": str(tmp_path / "gguf")}, {}, True)
    reader = gguf.GGUFReader(tmp_path / "gguf" / "mail-lora.gguf")
    tensors = {tensor.name: torch.tensor(tensor.data.copy()) for tensor in reader.tensors}
    assert len(tensors) == 2 * 4 * 7
    alpha = float(reader.fields["adapter.lora.alpha"].parts[-1][0])
    weights = load_file(version.folder / WEIGHTS)
    prefix = "base_model.model.model.layers.1.self_attn.q_proj.lora_"
    ours = 16 / 8 * weights[f"{prefix}B.weight"].float() @ weights[f"{prefix}A.weight"].float()
    theirs = alpha / 8 * tensors["blk.1.attn_q.weight.lora_b"] @ tensors["blk.1.attn_q.weight.lora_a"]
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_what_calibrates_gptq_was_trained_on_and_stands_in_the_template(
    project: Path, base: Base, version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from factory.export import forms

    seen: list[str] = []

    def quantise(model: Any, tokenizer: Any, texts: list[str], folder: Path) -> None:
        seen.extend(texts)

    monkeypatch.setattr(forms, "needs", lambda: None)
    monkeypatch.setattr(forms, "quantise", quantise)
    export({"version": version.name, "form": "gptq", "to": str(tmp_path / "gptq")}, {}, True)
    rows = {
        name: [json.loads(line) for line in (project / "adapters" / "mail" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("train", "eval")
    }
    assert len(seen) == len(rows["train"]) == 6
    for text, row in zip(seen, rows["train"], strict=True):
        assert text.endswith(row["completion"] + load_tokenizer(base).eos_token) and row["prompt"] in text
        assert text.startswith("<|im_start|>")
    assert not any(row["prompt"] in text for row in rows["eval"] for text in seen)


def test_gptq_says_what_it_needs(version: Version, tmp_path: Path) -> None:
    from optimum.utils import is_gptqmodel_available

    if is_gptqmodel_available() and torch.cuda.is_available():
        pytest.skip("it can run here")
    with pytest.raises(FactoryError, match="form=gptq needs"):
        export({"version": version.name, "form": "gptq", "to": str(tmp_path / "gptq")}, {}, True)
    assert not (tmp_path / "gptq").exists()

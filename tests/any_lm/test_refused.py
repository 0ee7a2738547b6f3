"""What cannot be a base is refused by `factory base`, in one line with the reason, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from factory.base import engine, fit
from factory.base.build import load_tokenizer, prepare
from factory.cli import main
from factory.errors import FactoryError, InputError
from factory.home import home as at_home
from factory.train.tokens import prompt_ids
from tests.any_lm.conftest import Prepared
from tests.any_lm.zoo import ANIMALS, SHAPE, build, make_tokenizer

PLAIN = next(animal for animal in ANIMALS if animal.name == "llama")
SMALL = {key: value for key, value in SHAPE.items() if key not in ("head_dim", "initializer_range")}
SMALL |= {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
LINEAR_ONLY = "NF4 holds linear layers only"
STRANGERS = [
    ("Gemma2", {**SMALL, "head_dim": 32}, "its attention has softcap, which cannot be trained here"),
    ("Mixtral", SMALL | EXPERTS, f"{LINEAR_ONLY}.*experts"),
    ("Qwen3Moe", {**SMALL, "head_dim": 32} | EXPERTS, f"{LINEAR_ONLY}.*experts"),
    ("GptOss", {**SMALL, "head_dim": 32} | EXPERTS, f"{LINEAR_ONLY}.*router"),
    ("Lfm2", {**SMALL, "layer_types": ["conv", "full_attention"]}, f"{LINEAR_ONLY}.*conv"),
    ("Mamba", {"hidden_size": 64, "num_hidden_layers": 2}, "vLLM serves MambaForCausalLM without adapters only"),
    ("Bloom", {"hidden_size": 64, "n_layer": 2, "n_head": 2}, "vLLM serves BloomForCausalLM without adapters only"),
    ("RecurrentGemma", {**SMALL, "head_dim": 32}, LINEAR_ONLY),
    ("Nemotron", SMALL, "its layers cannot take several sequences in one row .*cu_seq_lens_q"),
    ("XGLM", {"d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 2}, "vLLM does not know .*XGLM"),
    ("Llama", {**SMALL, "head_dim": 24}, "vLLM on a CPU has no attention for heads of width 24"),
]  # fmt: skip


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., Path]:
    """A model folder named after its kind."""

    def make(stem: str, config: dict[str, Any]) -> Path:
        folder = tmp_path / stem.lower()
        tokenizer = make_tokenizer(PLAIN)
        shape = getattr(transformers, f"{stem}Config")(
            **config, vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=2
        )
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(shape).to(torch.bfloat16)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def refused(folder: Path) -> str:
    """Why; nothing of the base may be left in the home."""
    before = sorted(at_home("bases", "x").parent.iterdir())
    with pytest.raises(InputError) as caught:
        prepare(str(folder))
    assert caught.value.exit_code == 2 and sorted(at_home("bases", "x").parent.iterdir()) == before
    said = str(caught.value)
    assert said.startswith(f"base {folder.name} cannot be used: ") and "\n" not in said
    return said


@pytest.mark.parametrize(("stem", "config", "why"), STRANGERS, ids=[stranger[0] for stranger in STRANGERS])
def test_an_architecture_that_cannot_be_trained_or_served(
    home: Path, published: Callable[..., Path], stem: str, config: dict[str, Any], why: str
) -> None:
    said = refused(published(stem, config))
    assert re.search(why, said), said


RAISES = "{{ raise_exception('nothing suits me') }}"
DEAF = "{% for m in messages %}{% if m.role == 'user' %}<u>{{ m.content }}</u>{% endif %}{% endfor %}<a>"
SHY = "{% if messages | length > 1 %}{{ raise_exception('one at a time') }}{% endif %}{{ messages[0].content[:8] }}"


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return build(PLAIN, tmp_path / "own-llama")


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "it has no chat template: take the instruct variant, or add chat_template.jinja to its folder"),
        (RAISES, "its chat template raises 'nothing suits me' where a user asks something"),
        ("<assistant>", "its chat template leaves the text out where a user asks something"),
        (SHY, "its chat template leaves the text out where there is a system prompt"),
    ],
)
def test_a_template_that_cannot_be_asked(home: Path, llama: Path, written: str, why: str) -> None:
    (llama / "chat_template.jinja").write_text(written)
    assert refused(llama).endswith(why)


def test_a_template_that_leaves_the_system_prompt_out_without_a_word_gets_one(home: Path, llama: Path) -> None:
    (llama / "chat_template.jinja").write_text(DEAF)
    tokenizer = load_tokenizer(prepare(str(llama)))
    user, answer = {"role": "user", "content": "Where?"}, {"role": "assistant", "content": "Here"}
    for turns, text in (
        ([{"role": "system", "content": "Be brief."}, user], "<u>Be brief.\n\nWhere?</u><a>"),
        ([{"role": "system", "content": "Be brief."}, answer, user], "<u>Be brief.</u><u>Where?</u><a>"),
        ([user], "<u>Where?</u><a>"),
    ):
        assert tokenizer.decode(prompt_ids(tokenizer, turns)) == text


def test_a_tokenizer_of_another_model(home: Path, tmp_path: Path) -> None:
    folder = build(
        replace(PLAIN, config={**PLAIN.config, "vocab_size": 300, "pad_token_id": None}), tmp_path / "mismatched"
    )
    assert re.search(r"belong to different models \(token \d+ of a prompt has no row among the 300", refused(folder))


def test_everything_that_its_files_tell_is_said_at_once(home: Path, llama: Path) -> None:
    (llama / "chat_template.jinja").write_text(RAISES)
    changed(llama / "tokenizer_config.json", eos_token=None)
    changed(llama / "config.json", quantization_config={"quant_method": "gptq", "bits": 4}, architectures=["NewLM"])
    with pytest.raises(InputError) as caught:
        prepare(str(llama))
    vllm, gptq, eos, template = map(str, caught.value.problems)
    assert "vLLM does not know its architecture (NewLM)" in vllm
    assert "it is quantised already (gptq): take the full-precision model" in gptq
    assert (
        "its tokenizer names no eos_token, so its answers would have no end" in eos and "nothing suits me" in template
    )


def test_a_model_that_reads_pictures_too(home: Path, llama: Path) -> None:
    transformers.Gemma3Config().save_pretrained(llama)
    assert refused(llama).endswith("it reads more than text: only models of text alone can be a base")


def test_the_command_line_says_it_in_one_line(home: Path, llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (llama / "chat_template.jinja").unlink()
    assert main(["base", f"base={llama}"]) == 2
    said = capsys.readouterr()
    assert not said.out and "base own-llama cannot be used: it has no chat template" in said.err
    assert "Traceback" not in said.err


def test_where_vllm_is_not_installed_nothing_is_said_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = transformers.MambaConfig(architectures=["MambaForCausalLM"])
    assert "without adapters" in engine.objection(config, cuda=True)
    monkeypatch.setattr(engine, "_installed", lambda: None)
    assert engine.objection(config, cuda=False) == ""


def test_a_base_of_an_earlier_release_is_checked_when_it_is_used(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = prepared(PLAIN)
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path))
    folder = at_home("bases", base.folder.name)
    shutil.copytree(base.folder, folder)
    changed(folder / "base.json", checked=None)
    asked: list[str] = []
    check = fit.check_layers
    monkeypatch.setattr(fit, "check_layers", lambda name, *rest: (asked.append(name), check(name, *rest)))
    for _ in range(2):
        assert prepare(base.name).fingerprint == base.fingerprint
    assert asked == ["llama"]
    changed(folder / "base.json", checked=None)
    (folder / "chat_template.jinja").write_text(DEAF)
    with pytest.raises(FactoryError, match=r"was prepared by an earlier release.*remove .*bases/"):
        prepare(base.name)


def changed(file: Path, **values: Any) -> None:
    """The JSON file with these keys set anew; None takes one away."""
    found = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))

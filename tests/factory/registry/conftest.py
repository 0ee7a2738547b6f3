"""A Hub on the loopback, homes of their own, and versions over a base that is only as large as the checks need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from factory.base.build import Base
from factory.decoding import Decoding
from factory.home import home, write_json
from factory.registry import aliases, store
from factory.registry.remote import Pointer
from factory.registry.store import CONFIG, FACTS, WEIGHTS, Facts, Version
from factory.registry.trust import sign
from tests.fakes.fake_hub import WRITER, FakeHub, fake_hub

OUT, WIDTH, RANK = 8, 16, 2
MODULES = [f"model.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "v_proj")]
ROOMY = 2**16  # values of a bulky tensor: enough bytes to cut a transfer in the middle
Make = Callable[..., Version]
WORDS = "the a meeting mail is on monday friday moved to room four please send slides by noon who are you what".split()


@dataclass(frozen=True)
class Signer:
    """Somebody with a key of ssh: the path of the private one, and the line that lists them as an allowed signer."""

    key: str
    line: str

    @classmethod
    def new(cls, folder: Path, name: str) -> Signer:
        if shutil.which("ssh-keygen") is None:
            pytest.skip("no ssh-keygen here: apt install openssh-client")
        key = folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
        return cls(str(key), f"{name}@example.org {key.with_suffix('.pub').read_text().strip()}")

    def signed(self, pointer: Pointer, task: str = "mail", alias: str = "prod") -> Pointer:
        return sign(task, alias, pointer, self.key)


@pytest.fixture(scope="session")
def lee(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer.new(tmp_path_factory.mktemp("keys"), "lee")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTORY_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # a slow disk is not what is tested here
    small_base()
    return tmp_path / "home"


def other_home(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on as another machine with the same base."""
    monkeypatch.setenv("FACTORY_HOME", str(path))
    small_base()


def small_base(fingerprint: str = "f" * 64, width: int = WIDTH) -> Base:
    """A base's checkpoint as far as a preflight reads it: the shapes of its 4-bit layers."""
    folder = home("bases", f"small-{fingerprint[:12]}")
    folder.mkdir(parents=True, exist_ok=True)
    state = np.frombuffer(json.dumps({"shape": [OUT, width]}).encode(), np.uint8)
    save_file(
        {f"{name}.weight.quant_state.bitsandbytes__nf4": state.copy() for name in MODULES}, folder / "model.safetensors"
    )
    facts = {"name": "team/small", "source": "team/small", "revision": "a" * 40, "fingerprint": fingerprint}
    write_json(folder / "base.json", facts)
    return Base("team/small", "team/small", "a" * 40, fingerprint, folder, 1e-3)


def plain_adapter(folder: Path, seed: int = 0, rank: int = RANK, base: str = "team/small", width: int = WIDTH) -> Path:
    """An adapter folder as PEFT writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    tensors = {}
    for name in MODULES:
        tensors[f"base_model.model.{name}.lora_A.weight"] = random.normal(size=(rank, width)).astype(np.float32)
        tensors[f"base_model.model.{name}.lora_B.weight"] = random.normal(size=(OUT, rank)).astype(np.float32)
    save_file(tensors, folder / WEIGHTS)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "revision": None, "r": rank,
        "lora_alpha": 4, "bias": "none", "target_modules": ["v_proj", "q_proj"], "init_lora_weights": True,
        "peft_version": "0.21.2",
    }  # fmt: skip
    (folder / CONFIG).write_text(json.dumps(config))
    return folder


def small_project(folder: Path, base: str) -> None:
    """A project with the task `mail` over a base: a few rows, and a rubric that is quick to grade by."""
    (folder / "adapters" / "mail").mkdir(parents=True)
    (folder / "adapters" / "defaults.yaml").write_text(f"base: {base}\ndata: {{near: 0}}\n")
    recipe = "kind: summary\nrubric: mail\ndata: {answer_tokens: [1, 50]}\ndecoding: {max_tokens: 4}\n"
    (folder / "adapters" / "mail" / "recipe.yaml").write_text(recipe)
    for name, first in (("train", 0), ("eval", 7)):
        rows = [
            {"prompt": f"{WORDS[i]} {WORDS[i + 3]} moved to {WORDS[i + 5]}", "completion": WORDS[i]}
            for i in range(first, first + 6)
        ]
        (folder / "adapters" / "mail" / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "rubrics").mkdir()
    originals = Path(__file__).parents[3] / "rubrics"
    (folder / "rubrics" / "mail.yaml").write_text((originals / "summary.yaml").read_text())
    (folder / "rubrics" / "general.yaml").write_text((originals / "general.yaml").read_text())
    general = (originals / "general.jsonl").read_text().splitlines(keepends=True)
    (folder / "rubrics" / "general.jsonl").write_text("".join(general[:4]))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def version(seed: int = 0, task: str = "mail", rank: int = RANK, **notes: object) -> Version:
        facts = Facts(
            task=task, kind="summary", base="team/small", fingerprint="f" * 64, chat_template="t", prompt="Be brief.",
            decoding=Decoding(), labels=[],
        )  # fmt: skip
        made = store.add(plain_adapter(tmp_path / f"{task}-{seed}-{rank}" / "adapter", seed, rank), facts)
        for name, value in notes.items():
            store.note(made, name, value)
        aliases.register(made)
        return made

    return version


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A Hub that huggingface_hub takes for the real one, with a token that may write; waiting is short."""
    from huggingface_hub import constants

    from factory.registry import exchange
    from factory.registry import hub as hub_module

    with fake_hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        monkeypatch.setattr(hub_module, "TIMEOUT", 1.0)
        monkeypatch.setattr(hub_module, "WAITS", (0.01, 0.01, 0.01))
        quick = types.SimpleNamespace(sleep=lambda seconds: None, time=__import__("time").time)
        for module in ("huggingface_hub.utils._http", "huggingface_hub.file_download"):
            monkeypatch.setattr(f"{module}.time", quick)
        monkeypatch.setattr(exchange, "time", types.SimpleNamespace(sleep=lambda seconds: None))
        yield running


def contents(version: Version) -> dict[str, bytes]:
    return {name: (version.folder / name).read_bytes() for name in (WEIGHTS, CONFIG, FACTS)}


def stored() -> list[str]:
    """The names of everything in this home's store and quarantine."""
    folders = [home("store", "x").parent, home("quarantine", "x").parent]
    return sorted(name for folder in folders for name in os.listdir(folder) if not name.endswith(".lock"))

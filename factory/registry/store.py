"""The content-addressed store of versions: a folder `store/<sha256>/`, written once, read-only, verified by its name.

    adapter_config.json, adapter_model.safetensors     what PEFT and vLLM read
    version.json                                       the `Facts` below

The hash covers what changes a version's answers, and nothing else: weights, config, prompt, decoding defaults, labels,
chat template and the base's fingerprint. Not time, machine or score: the same training gives the same version.
"""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.base.build import Base
from factory.decoding import Decoding
from factory.errors import FactoryError, InputError, first_line
from factory.home import digest, home, left_behind, locked, scratch, sha256, unfinished, write_folder, write_json
from factory.kinds import Kind
from factory.recipe import Recipe
from factory.registry import newer
from factory.registry.newer import Newer
from factory.strict import Strict

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
FACTS = "version.json"
SHORT = 12  # characters of a hash that a version's name shows


class Facts(Strict):
    """What is known of a version beside its weights; all of it is part of its hash."""

    task: str
    kind: Kind
    base: str
    fingerprint: str
    chat_template: str
    prompt: str
    decoding: Decoding
    labels: list[str]


@dataclass(frozen=True)
class Version:
    """An immutable adapter in the store."""

    sha: str
    folder: Path
    facts: Facts

    @property
    def task(self) -> str:
        return self.facts.task

    @property
    def name(self) -> str:
        """The task and the whole hash: what decisions, stored answers and engines know it by."""
        return name_of(self.task, self.sha)

    @property
    def short(self) -> str:
        """`summary@1a2b3c4d5e6f`: for people to read. Two versions could be made to share it."""
        return f"{self.task}@{self.sha[:SHORT]}"

    def notes(self, *parts: str) -> Path:
        """Where scorecards, reports and the recipe of this version lie, beside the store."""
        return home("notes", self.sha, *parts)


def name_of(task: str, sha: str) -> str:
    """A version's name by its hash alone, whether it is in the store or not."""
    return f"{task}@{sha}" if sha else ""


def facts_of(recipe: Recipe, base: Base) -> Facts:
    template = base.folder / "chat_template.jinja"
    return Facts(
        task=recipe.task,
        kind=recipe.kind,
        base=base.name,
        fingerprint=base.fingerprint,
        chat_template=digest(template.read_text() if template.is_file() else ""),
        prompt=recipe.system_prompt(),
        decoding=recipe.decoding,
        labels=recipe.labels,
    )


def read_facts(path: Path) -> Facts:
    """What a version's file tells of it. Newer: a later release has written it; ValueError: it is something else."""
    return newer.read(Facts, path.read_bytes(), ("kind",), ("decoding", "grammar"))


def content_hash(folder: Path) -> str:
    """A version's name: sha256 over the hashes of its three files, JSON taken by value and not by layout."""
    return digest([sha256(folder / WEIGHTS), *(json.loads((folder / name).read_text()) for name in (CONFIG, FACTS))])


def add(adapter: Path, facts: Facts) -> Version:
    """Copy an adapter folder as PEFT wrote it into the store. Adding the same content twice gives the same version."""
    with scratch(home("store", "staging")) as staging:
        return keep(stage(adapter, facts, staging))


def stage(adapter: Path, facts: Facts, folder: Path) -> Version:
    """Write an adapter as PEFT saved it into the empty `folder` in the store's form; `keep` then stores it."""
    config = json.loads((adapter / CONFIG).read_text())
    # What PEFT notes of the machine and the moment says nothing about the answers.
    config |= {"base_model_name_or_path": facts.base, "inference_mode": True, "revision": None}
    for name in ("peft_version", "auto_mapping"):
        config.pop(name, None)
    for name in ("target_modules", "modules_to_save"):
        if isinstance(config.get(name), list):
            config[name] = sorted(config[name])
    shutil.copyfile(adapter / WEIGHTS, folder / WEIGHTS)
    write_json(folder / CONFIG, config)
    write_json(folder / FACTS, facts.model_dump(mode="json"))
    return Version(content_hash(folder), folder, facts)


def keep(staged: Version) -> Version:
    """Move a staged version's files into the store; its folder is left without them. What is there already stays, but
    is replaced where it is damaged."""

    def fill(folder: Path) -> None:
        for name in (WEIGHTS, CONFIG, FACTS):
            (staged.folder / name).chmod(0o444)
            os.rename(staged.folder / name, folder / name)

    folder = home("store", staged.sha)
    with locked(folder.parent):
        if folder.exists() and fault(staged.sha):
            os.rename(folder, unfinished(folder.with_name("damaged")))
        write_folder(folder, fill)
        for left in left_behind(folder.with_name("damaged")):
            shutil.rmtree(left, ignore_errors=True)
    return get(staged.sha)


def get(sha: str) -> Version:
    """The version with this full hash. Errors: not in the store, not what its name says (checked by `verify`), or of a
    later release."""
    folder = home("store", sha)
    try:
        facts = read_facts(folder / FACTS)
    except Newer as error:
        raise Newer(f"version {sha[:SHORT]} {error}") from None
    except FileNotFoundError:
        raise InputError(f"version {sha[:SHORT]} is not in the store") from None
    except (ValueError, OSError) as error:
        raise FactoryError(f"version {sha[:SHORT]} is damaged: {first_line(error)}; pull or train it again") from None
    if gone := [name for name in (WEIGHTS, CONFIG) if not os.path.lexists(folder / name)]:
        raise FactoryError(f"version {sha[:SHORT]} is damaged: {gone[0]} is gone; pull or train it again")
    return Version(sha, folder, facts)


def verify(version: Version) -> None:
    """Recompute the hash: a changed byte in the store must never be served under its old name."""
    try:
        now = content_hash(version.folder)
    except (OSError, ValueError) as error:
        why = first_line(error)
    else:
        why = "" if now == version.sha else f"its content hashes to {now[:SHORT]}"
    if why:
        raise FactoryError(f"{version.short} is damaged: {why}; pull or train it again")


def fault(sha: str) -> str:
    """What is wrong with the version of this hash; empty if it is in the store and whole."""
    try:
        verify(get(sha))
    except FactoryError as error:
        return str(error)
    return ""


def note(version: Version, name: str, value: Any) -> None:
    """Attach a JSON document (scorecard, data manifest …) to a version."""
    write_json(version.notes(f"{name}.json"), value)


def noted(version: Version | str, name: str) -> Any:
    """A document attached to a version, or to its hash, or None."""
    path = home("notes", version if isinstance(version, str) else version.sha, f"{name}.json")
    return json.loads(path.read_text()) if path.is_file() else None

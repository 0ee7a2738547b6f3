"""What travels with a version: the adapter, its card, and everything a stranger needs to trust it.

    README.md  adapter_model.safetensors  adapter_config.json  version.json
    factory/   manifest.json recipe.yaml prompt.md rubric.yaml scorecard.json base_scorecard.json gate.json data.json
               report.html curves.png   and with with_data=true data/{train,eval}.jsonl

On its way out `adapter_config.json` names the base as strangers know it (id and revision); coming in it names it as
this project does again: the version's hash is over the latter. Nothing leaves that looks like a secret, no path of
this machine, and no row of the data unless asked for.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from factory.base.known import find, label
from factory.control import mapped
from factory.errors import FactoryError, InputError, Problem
from factory.home import home, project, sha256, write_file, write_json
from factory.recipe import Card, load, tasks
from factory.registry import aliases, store
from factory.registry.card import Dossier, render
from factory.registry.faults import leaks
from factory.registry.hub import OWN_FOLDER
from factory.registry.remote import Place, Release
from factory.registry.store import CONFIG, FACTS, WEIGHTS, Version

MANIFEST = OWN_FOLDER + "manifest.json"
NOTES = {name: f"{OWN_FOLDER}{name}.json" for name in ("scorecard", "base_scorecard", "gate", "data")}
REPORT = OWN_FOLDER + "report.html"
CURVES = OWN_FOLDER + "curves.png"
ROWS = ("train.jsonl", "eval.jsonl")
DATA_KEYS = ("hash", "task", "version", "files", "rows", "funnel", "reasons", "tokens", "labels", "notes")
Files = dict[str, Path]


def gather(
    version: Version, ordinal: int, place: Place, folder: Path, with_data: bool = False, report: str = ""
) -> tuple[Files, Release]:
    """Everything to upload (name there → file here; new ones are written into `folder`), and its catalogue entry.

    `report` is the page about its grading, without rows. InputError with every file and what kind of secret stands in
    it, if one does.
    """
    base_id, revision = base_of(version)
    recipe = store.noted(version, "recipe") or {}
    card = _card(version.task, recipe)
    notes = {name: _public(name, store.noted(version, name), with_data) for name in NOTES}
    if notes["data"]:
        notes["data"] |= {
            "license": card.data_license or None,
            "datasets": card.datasets,
            # Who gets the rows another way can see that they are the same.
            "sha256": {name: sha256(path) for name in ROWS if (path := _data_folder(version) / name).is_file()},
        }
    curves = Path((store.noted(version, "run") or {}).get("folder", "none")) / "curves.png"
    picture = CURVES if curves.is_file() else ""
    files = _written(folder, Dossier(version, ordinal, place, base_id, revision, card, recipe, notes, picture))
    files |= {CURVES: curves} if picture else {}
    if report:
        files[REPORT] = folder / REPORT
        write_file(files[REPORT], report)
    if with_data:
        files |= _rows(version)
    _refuse_secrets(files)
    base = {"id": base_id, "revision": revision, "fingerprint": version.facts.fingerprint}
    hashes = {name: {"sha256": sha256(path), "size": path.stat().st_size} for name, path in sorted(files.items())}
    manifest = {"format": 1, "task": version.task, "version": version.sha, "base": base, "files": hashes}
    files[MANIFEST] = folder / MANIFEST
    write_json(files[MANIFEST], manifest)
    entry = aliases.read(version.task).entry(version.sha)
    scores = {k: v for k, v in (notes["scorecard"] or {}).items() if k in ("n", "good", "average", "poor")}
    return files, Release(
        ordinal=ordinal,
        sha=version.sha,
        created=entry.created if entry else "",
        base=base_id,
        fingerprint=version.facts.fingerprint,
        manifest=sha256(files[MANIFEST]),
        scorecard=scores,
    )


def _written(folder: Path, dossier: Dossier) -> Files:
    """The adapter's own files, and what is written into `folder` to go with them."""
    version, recipe, notes = dossier.version, dossier.recipe, dossier.notes
    config = json.loads((version.folder / CONFIG).read_text())
    config |= {"base_model_name_or_path": dossier.base_id, "revision": dossier.base_revision or None}
    texts = {"README.md": render(dossier)}
    if recipe:
        whole = yaml.safe_dump(_unplaced(recipe), sort_keys=False, allow_unicode=True)
        texts[OWN_FOLDER + "recipe.yaml"] = whole
    if version.facts.prompt:
        texts[OWN_FOLDER + "prompt.md"] = version.facts.prompt + "\n"
    rubric = project() / "rubrics" / f"{recipe.get('rubric') or version.task}.yaml"
    if rubric.is_file():
        texts[OWN_FOLDER + "rubric.yaml"] = rubric.read_text()
    values = {CONFIG: config} | {NOTES[name]: note for name, note in notes.items() if note is not None}
    for name, text in texts.items():
        write_file(folder / name, text)
    for name, value in values.items():
        write_json(folder / name, value)
    own = {name: version.folder / name for name in (WEIGHTS, FACTS)}
    return own | {name: folder / name for name in (*texts, *values)}


def restore(folder: Path, staged: Path) -> Version:
    """Downloaded core files as a version of this project, in the empty folder `staged`; its hash is our own. Newer: a
    later release has made it."""
    (staged / FACTS).write_bytes((folder / FACTS).read_bytes())
    facts = store.read_facts(staged / FACTS)
    config = json.loads((folder / CONFIG).read_text())
    write_json(staged / CONFIG, config | {"base_model_name_or_path": facts.base, "revision": None})
    (folder / WEIGHTS).rename(staged / WEIGHTS)
    return Version(store.content_hash(staged), staged, facts)


def attach(version: Version, folder: Path) -> None:
    """Keep what travelled beside a version as its notes here; what this machine knows already stays."""
    for name, path in NOTES.items():
        if (folder / path).is_file() and store.noted(version, name) is None:
            store.note(version, name, json.loads((folder / path).read_text()))
    recipe = folder / OWN_FOLDER / "recipe.yaml"
    if recipe.is_file() and store.noted(version, "recipe") is None:
        store.note(version, "recipe", yaml.safe_load(recipe.read_text()))
    if (folder / REPORT).is_file() and not version.notes("report.html").exists():
        write_file(version.notes("report.html"), (folder / REPORT).read_bytes())


def base_of(version: Version) -> tuple[str, str]:
    """The base's id as strangers know it, and its revision: a commit of the Hub, else a hash of its files.

    FactoryError if that base is not on this machine: then nothing is known of where it came from.
    """
    if base := find(version.facts.fingerprint):
        commit = len(base.revision) == 40  # the revision of local files is a sha256
        return (base.source if commit else base.label), base.revision
    raise FactoryError(
        f"the base of {version.short} ({label(version.facts.base)}, {version.facts.fingerprint[:12]}) is not on this "
        f"machine: factory base base={version.facts.base}"
    )


def _card(task: str, recipe: Mapping[str, Any]) -> Card:
    """The recipe's `card` section as it is now, so that a licence can be mended without training again."""
    return load(task).card if task in tasks() else Card.model_validate(recipe.get("card") or {})


def _public(name: str, note: Any, with_data: bool) -> Any:
    """A note without rows of the data, paths and the like."""
    if note is None:
        return None
    if name == "data":
        note = {key: note[key] for key in DATA_KEYS if key in note}
    if name.endswith("scorecard") and not with_data:
        note = {key: value for key, value in note.items() if key != "worst"}
    return _unplaced(note)


def _unplaced(value: Any) -> Any:
    """The same value with absolute paths cut to their last part."""

    def leaf(said: Any) -> Any:
        path = isinstance(said, str) and said.startswith(("/", "~")) and "\n" not in said
        return Path(said).name if path else said

    return mapped(value, leaf)


def _data_folder(version: Version) -> Path:
    return home("data", str((store.noted(version, "data") or {}).get("hash", "none")))


def _rows(version: Version) -> Files:
    folder = _data_folder(version)
    if not all((folder / name).is_file() for name in ROWS):
        raise InputError(f"with_data=true: the data set of {version.short} is not on this machine; push without it")
    return {f"{OWN_FOLDER}data/{name}": folder / name for name in ROWS}


def _refuse_secrets(files: Files) -> None:
    problems = []
    for name, path in files.items():
        if path.suffix != ".safetensors" and (kind := leaks(path.read_text(errors="replace"))):
            problems.append(Problem(f"holds {kind}: take it out; nothing was pushed", name))
    if problems:
        raise InputError(*problems)

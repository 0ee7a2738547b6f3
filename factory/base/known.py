"""The bases in this home: what each is called, where it came from, and which adapters are its own."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.base.catalog import Wheel, entry
from factory.home import home


@dataclass(frozen=True)
class Base:
    """A quantised base on this machine. `fingerprint` names all that changes its answers (`factory.base.fingerprint`).

    `name` is what `prepare` takes and versions record: a short name, a Hub id, or the whole path of a folder. `also` is
    what it is called by the other rule for fingerprints, that of earlier or of later releases.
    """

    name: str
    source: str
    revision: str
    fingerprint: str
    folder: Path
    lr: float
    license: str = ""
    also: str = ""

    def owns(self, fingerprint: str | None) -> bool:
        """Whether an adapter that carries this fingerprint was trained on this base."""
        return bool(fingerprint) and fingerprint in (self.fingerprint, self.also)

    @property
    def label(self) -> str:
        """What people and the API call it: the short name, or the last part of a Hub id or path."""
        return label(self.name)


def label(name: str) -> str:
    """What people and the API call the base `name`."""
    return Path(name).name


def find(fingerprint: str) -> Base | None:
    """The base here that owns a fingerprint, wherever its source may be now."""
    mine = [base for folder, facts in prepared() if (base := read(folder, facts["name"])).owns(fingerprint)]
    return min(mine, key=lambda base: base.fingerprint != fingerprint, default=None)


def read(folder: Path, name: str) -> Base:
    """The base in a folder, called `name`."""
    facts, known = json.loads((folder / "base.json").read_text()), entry(name)
    source, revision = facts.get("source", name), facts.get("revision", "")
    return Base(name, source, revision, facts["fingerprint"], folder, known.lr, known.license, facts.get("also", ""))


def prepared() -> list[tuple[Path, dict[str, Any]]]:
    """The folders of the bases here and what their base.json says; the newest first."""
    paths = sorted(home("bases", "x").parent.glob("[!.]*/base.json"), key=lambda path: -path.stat().st_mtime)
    return [(path.parent, json.loads(path.read_text())) for path in paths]


def pinned(name: str, revision: str) -> Path | None:
    """The folder of a base of the Hub that is here already, at `revision` if one is asked for."""
    source = entry(name).source
    if isinstance(source, Wheel) or Path(source).expanduser().is_dir():
        return None
    same = [path for path, facts in prepared() if facts["name"] == name and revision in ("", facts.get("revision"))]
    return same[0] if same else None


def moved(name: str, revision: str) -> Path | None:
    """The folder of a base whose source lay elsewhere before: the same files in a folder of the same name."""
    same = (path for path, f in prepared() if f.get("revision") == revision and label(f["name"]) == label(name))
    return next(same, None)

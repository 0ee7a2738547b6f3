"""A plain PEFT adapter that this project did not make becomes a candidate: fetched, held against the base, and staged.

What it lacks (task, prompt, decoding, labels, base fingerprint) comes from the recipe of the task it is adopted for.
Only two files are taken, the config and the safetensors weights; what would have to be unpickled or run is not.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from factory.base.build import Base, locate
from factory.base.same import difference
from factory.errors import InputError
from factory.home import home, shown
from factory.recipe import Recipe
from factory.registry import store
from factory.registry.exchange import MAX_RANK
from factory.registry.faults import explained
from factory.registry.hub import again, api, download
from factory.registry.preflight import MAX_CONFIG, MAX_WEIGHTS, Refused, plain_file, preflight
from factory.registry.remote import Place
from factory.registry.store import CONFIG, WEIGHTS, Version

LIMITS = {CONFIG: MAX_CONFIG, WEIGHTS: MAX_WEIGHTS}


@contextmanager
def adopted(
    place: Place, recipe: Recipe, base: Base, weights: str = ""
) -> Iterator[tuple[Version, dict[str, Any], str]]:
    """The adapter at `place` as a version of the recipe's task, staged while the block runs; `store.keep` keeps it.
    With it come where it is from, and what could not be checked. `weights` is the folder or Hub id of the base that it
    names, where that is this one under another name.

    Errors: RemoteError; InputError if there is no such adapter; Refused for another base or an unsound adapter.
    """
    with TemporaryDirectory(dir=home("quarantine", "x").parent, prefix=".adopt-") as name:
        fetched, staged = Path(name, "fetched"), Path(name, "staged")
        fetched.mkdir()
        staged.mkdir()
        commit = _fetch_hub(place, fetched) if place.scheme == "hub" else _fetch_folder(place, fetched)
        claimed, doubt = _claimed_base(json.loads((fetched / CONFIG).read_text()), base, place, weights)
        version = store.stage(fetched, store.facts_of(recipe, base), staged)
        try:
            preflight(version, base, MAX_RANK)
        except Refused as error:
            raise Refused(f"the adapter at {place} does not fit {base.label}: {error}") from None
        yield version, {"from": str(place), "commit": commit, "base": claimed}, doubt


def _fetch_hub(place: Place, folder: Path) -> str:
    """Download the two files of one commit; the commit."""
    with explained(str(place), "adopt from"):
        commit = again(lambda: api().model_info(place.path, revision=place.which or None)).sha or ""
        sizes = {
            info.path: info for info in again(lambda: api().get_paths_info(place.path, [*LIMITS], revision=commit))
        }
        _complete(place, {name: getattr(info, "size", 0) for name, info in sizes.items()})
        for name in LIMITS:
            again(lambda name=name: download(place.path, name, commit, folder))  # type: ignore[misc]
    return commit


def _fetch_folder(place: Place, folder: Path) -> str:
    if place.scheme != "file":
        raise InputError(f"{place}: adopt from hub:<namespace>/<repo> or file:<folder>")
    source = Path(place.path).expanduser()
    _complete(place, {name: (source / name).stat().st_size for name in LIMITS if (source / name).exists()})
    for name, limit in LIMITS.items():
        plain_file(source / name, limit)
        shutil.copyfile(source / name, folder / name)
    return ""


def _complete(place: Place, sizes: dict[str, int]) -> None:
    if missing := [name for name in LIMITS if name not in sizes]:
        hint = "; pickled weights (.bin) are never loaded: save it as safetensors" if WEIGHTS in missing else ""
        raise InputError(f"{place} is no PEFT adapter: it holds no {' and no '.join(missing)}{hint}")
    for name, limit in LIMITS.items():
        if sizes[name] > limit:
            raise Refused(f"{name} of {place} is larger than {limit} bytes")


def _claimed_base(config: Any, base: Base, place: Place, weights: str) -> tuple[str, str]:
    """The base that the adapter's config names, and what of it cannot be checked. Refused if it is another one.

    A path of the machine where it was trained says nothing here: then only the shapes can speak, or the `weights`.
    """
    named = str(config.get("base_model_name_or_path") or "") if isinstance(config, dict) else ""
    mine = {base.name, base.source, str(base.folder)}
    here = bool(named) and Path(named).is_dir()
    if named in mine or (here and Path(named).resolve() in {Path(m).resolve() for m in mine if m}):
        return named, ""
    if weights:
        if other := difference(base, locate(weights, weights, "")[0]):
            raise Refused(f"{weights} is another model than {base.label}: {other}")
        return named, ""
    if here or (named.count("/") == 1 and not named.startswith((".", "/", "~"))):
        raise Refused(
            f"the adapter at {place} was trained on {shown(Path(named)) if here else named}, "
            f"not on {base.label}: train it again, or take the recipe's base that it needs (base=…). If that is this "
            "base under another name, weights=<its folder or Hub id> has the weights of the two compared"
        )
    doubt = f"its config names the base {Path(named).name or 'not at all'!r}, which tells nothing here: only shapes fit"
    return Path(named).name, doubt

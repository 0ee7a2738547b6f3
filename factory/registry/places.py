"""The kinds of place that a registry can be at: one entry each in `PLACES`."""

import re
from collections.abc import Callable
from typing import NamedTuple

from factory.errors import InputError
from factory.registry.folder import Folder, registries
from factory.registry.hub import Hub, repositories
from factory.registry.remote import Place, Remote


class PlaceKind(NamedTuple):
    """`form`: how people write such a place. `wrong`: what is wrong with what stands behind the colon, or nothing.
    `open` takes the place and whether a new one is private; `below` gives all registries at or under the place."""

    form: str
    wrong: Callable[[str], str]
    open: Callable[[Place, bool], Remote]
    below: Callable[[Place], list[Remote]]


def parse(text: str) -> Place:
    """`hub:team/summary@prod` → its parts; the version is empty where none is named."""
    if re.match(r"s3://[^/]*@", text):  # said without repeating it
        raise InputError("a place holds no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of s3fs")
    match = re.fullmatch(rf"({'|'.join(PLACES)}):(.+?)(?:@([A-Za-z0-9.-]+))?", text)
    if not match or not match[2].strip("/"):
        *forms, last = (kind.form for kind in PLACES.values())
        raise InputError(
            f"{text!r} is no place: write {', '.join(forms)} or {last}, with @prod, @v3 or @<hash> for one version"
        )
    scheme, path, which = match.groups()
    if wrong := PLACES[scheme].wrong(path):
        raise InputError(f"{text!r}{wrong}")
    return Place(scheme, path.rstrip("/") or "/", which or "")


def open_remote(place: Place, private: bool = True) -> Remote:
    """The registry of one task, to push to or to pull from."""
    return PLACES[place.scheme].open(place, private)


def remotes(place: Place) -> list[Remote]:
    """All registries at a place: the one it names, or those of a namespace or of a folder of folders."""
    return PLACES[place.scheme].below(place)


def _no_repository(path: str) -> str:
    if "://" in path:
        return _no_folder(path)
    fits = re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path)
    return "" if fits else ": a place on the Hub is hub:<namespace> or hub:<namespace>/<repo>"


def _no_folder(path: str) -> str:
    return " is no place: a bucket is s3://<bucket>/<folder>, a folder file:<folder>" if "://" in path else ""


def _no_bucket(path: str) -> str:
    if "://" in path or re.match("//[^/]", path):
        return _no_folder(path)
    return f"{_no_folder('://')}; did you mean s3://{path.strip('/')}?"


def _hub(place: Place, private: bool) -> Remote:
    if "/" not in place.path:
        raise InputError(f"{place} is a namespace; name the repository too: {place}/<repo>")
    return Hub(str(place), place.path, private)


def _hubs(place: Place) -> list[Remote]:
    names = [place.path] if "/" in place.path else repositories(place.path)
    return [Hub(f"hub:{name}", name) for name in names]


def _folder(place: Place, private: bool) -> Remote:
    return Folder(str(place), _url(place))


def _folders(place: Place) -> list[Remote]:
    return [Folder(name, url) for name, url in registries(str(place), _url(place))]


def _url(place: Place) -> str:
    return place.path if place.scheme == "file" else str(place)


PLACES = {
    "hub": PlaceKind("hub:<namespace>/<repo>", _no_repository, _hub, _hubs),
    "file": PlaceKind("file:<folder>", _no_folder, _folder, _folders),
    "s3": PlaceKind("s3://<bucket>/<folder>", _no_bucket, _folder, _folders),
}

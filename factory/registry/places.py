"""The kinds of place that a registry can be at: one entry each in `PLACES`."""

import re

from factory.errors import InputError
from factory.registry.folder import Folder, registries
from factory.registry.hub import Hub, repositories
from factory.registry.remote import Place, Remote

PLACES = {"hub": "hub:<namespace>/<repo>", "file": "file:<folder>", "s3": "s3://<bucket>/<folder>"}  # and how to write


def parse(text: str) -> Place:
    """`hub:team/summary@prod` → its parts; the version is empty where none is named."""
    if re.match(r"s3://[^/]*@", text):  # said without repeating it
        raise InputError("a place holds no keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile of s3fs")
    match = re.fullmatch(rf"({'|'.join(PLACES)}):(.+?)(?:@([A-Za-z0-9.-]+))?", text)
    if not match or not match[2].strip("/"):
        *forms, last = PLACES.values()
        raise InputError(
            f"{text!r} is no place: write {', '.join(forms)} or {last}, with @prod, @v3 or @<hash> for one version"
        )
    scheme, path, which = match.groups()
    if "://" in path or (scheme == "s3" and not re.match("//[^/]", path)):
        meant = "" if "://" in path else f"; did you mean s3://{path.strip('/')}?"
        raise InputError(f"{text!r} is no place: a bucket is s3://<bucket>/<folder>, a folder file:<folder>{meant}")
    if scheme == "hub" and not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", path):
        raise InputError(f"{text!r}: a place on the Hub is hub:<namespace> or hub:<namespace>/<repo>")
    return Place(scheme, path.rstrip("/") or "/", which or "")


def open_remote(place: Place, private: bool = True) -> Remote:
    """The registry of one task, to push to (private, if it is new) or to pull from."""
    if place.scheme != "hub":
        return Folder(str(place), _url(place))
    if "/" not in place.path:
        raise InputError(f"{place} is a namespace; name the repository too: {place}/<repo>")
    return Hub(str(place), place.path, private)


def remotes(place: Place) -> list[Remote]:
    """All registries at a place: the one it names, or those of a namespace or of a folder of folders."""
    if place.scheme != "hub":
        return [Folder(name, url) for name, url in registries(str(place), _url(place))]
    names = [place.path] if "/" in place.path else repositories(place.path)
    return [Hub(f"hub:{name}", name) for name in names]


def _url(place: Place) -> str:
    return place.path if place.scheme == "file" else str(place)

"""The kinds of place that a registry can be at: one entry each, of how to open one and how to find all below a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from factory.errors import InputError
from factory.registry.folder import Folder, registries
from factory.registry.hub import Hub, repositories
from factory.registry.remote import Place, Remote


class Kind(NamedTuple):
    """`open` takes the place and whether a new one is private; `below` gives all registries at or under the place."""

    open: Callable[[Place, bool], Remote]
    below: Callable[[Place], list[Remote]]


def open_remote(place: Place, private: bool = True) -> Remote:
    """The registry of one task, to push to or to pull from."""
    return PLACES[place.scheme].open(place, private)


def remotes(place: Place) -> list[Remote]:
    """All registries at a place: the one it names, or those of a namespace or of a folder of folders."""
    return PLACES[place.scheme].below(place)


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
    return str(place) if place.scheme == "s3" else place.path


PLACES = {"hub": Kind(_hub, _hubs), "file": Kind(_folder, _folders), "s3": Kind(_folder, _folders)}

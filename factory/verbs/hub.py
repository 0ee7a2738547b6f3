"""`factory push`, `pull` and `list registry=`: versions on the Hub, on a shared disk or in a bucket."""

from typing import Any

from evals import decisions, tables
from evals import report as reports
from evals import rubric as rubrics
from evals.gate import Verdict
from evals.run import Report
from factory.errors import FactoryError, GateRefused, InputError
from factory.recipe import tasks
from factory.registry import aliases, store
from factory.registry.exchange import point, pull, push
from factory.registry.follow import FOLLOWED
from factory.registry.places import open_remote, parse, remotes
from factory.registry.remote import Place, Pointer, Remote
from factory.registry.store import SHORT, Version
from factory.registry.trust import sign
from factory.strict import flag
from factory.terminal import err, out, percent, table


def push_(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Push one version, or with `task=` what prod and canary mean here, and let them mean the same there."""
    place = parse(arguments["to"])
    if place.which:
        raise InputError(f"to={place}@{place.which}: a push names no version there, it gets the next number")
    versions, pointers = _wanted(arguments)
    if key := arguments.get("sign"):
        pointers = {name: sign(versions[0].task, name, pointer, key) for name, pointer in pointers.items()}
    remote = open_remote(place, private=flag(arguments, "private", True))
    with_data = flag(arguments, "with_data", False)
    console = out(quiet)
    pushed = []
    for version in versions:
        _remark(version)
        done = push(version, remote, place, with_data, _report(version))
        what = "pushed" if done.new else "is there already"
        console.print(f"{aliases.label(version)} {what}: {place}@{done.release.tag}")
        pushed.append(_release(version.task, done.release, remote) | {"new": done.new})
    if pointers and point(remote, place, pointers, lambda sha: bool(aliases.read(versions[0].task).entry(sha))):
        console.print(f"{', '.join(pointers)} of {place} moved")
    for name, pointer in pointers.items():
        if (pointer.gate or {}).get("decision") != "PROMOTE":
            err.print(f"[yellow]{name} has no gate decision PROMOTE: servers that follow {place} will not take it[/]")
    return {"place": str(place), "versions": pushed, "aliases": {n: p.sha[:SHORT] for n, p in pointers.items()}}


def pull_(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Fetch one version into the store; no alias here moves."""
    place = parse(arguments["from"])
    remote = open_remote(place)
    done = pull(remote, place, lambda text: err.print(text, markup=False))
    _take_over_decision(done.version, place)
    console = out(quiet)
    console.print(
        f"{done.version.task}@{done.release.tag} ({done.release.sha[:SHORT]}) of {place} is "
        f"{aliases.label(done.version)} here{'' if done.new else ', it was here already'}. Next:\n"
        f"  factory {_next(done.version)}"
    )
    entry = aliases.read(done.version.task).entry(done.version.sha)
    there = _release(done.version.task, done.release, remote)
    return there | {
        "new": done.new,
        "ordinal": entry.ordinal if entry else None,
        "there": done.release.tag,
        "gate": done.gate,
    }


def listing(registry: str, task: str, quiet: bool) -> dict[str, Any]:
    """All versions of all tasks at a place; a registry that cannot be read is reported, the others are still shown."""
    found, faults = [], []
    for remote in remotes(parse(registry)):
        try:
            catalogue = remote.read().catalogue
        except FactoryError as error:
            faults.append(str(error))
            continue
        if catalogue and task in ("", catalogue.task):
            for release in catalogue.versions:
                names = sorted(name for name, pointer in catalogue.aliases.items() if pointer.sha == release.sha)
                found.append(_release(catalogue.task, release, remote) | {"aliases": names})
    if faults and not found:
        raise FactoryError("\n".join(faults))
    for fault in faults:
        err.print(fault, style="yellow", markup=False)
    console = out(quiet)
    if found:
        rows = [row(version, " ".join(version["aliases"]), hash_of(version), version["place"]) for version in found]
        console.print(table("", ["version", "is", "good", "poor", "hash", "place"], rows))
    else:
        console.print(f"no versions at {registry}; push one: factory push task=… to={_one_below(registry)}")
    return {"versions": found}


def own_gate(version: Version) -> None:
    """The policy `gate=own` of a server that follows: GateRefused unless this machine's gate promoted the version
    against what is in production here. A decision that came with a pull does not count."""
    run = decisions.latest(tables.open_database(), version.name)
    if run and not run["plan"]:  # as `_take_over_decision` logs it
        raise GateRefused("INCONCLUSIVE", f"it was graded elsewhere only: factory grade version={version.short}")
    decisions.admit(version)


def _wanted(arguments: dict[str, str]) -> tuple[list[Version], dict[str, Pointer]]:
    """The versions to push, and what the aliases are to mean there."""
    if ("version" in arguments) == ("task" in arguments):
        raise InputError("factory push needs task=… or version=…, one of the two")
    if "version" in arguments:
        return [aliases.resolve(arguments["version"])], {}
    registry = aliases.read(arguments["task"])
    if not registry.versions:
        aliases.resolve(arguments["task"])  # says what there is instead
    named = {name: store.get(sha) for name, sha in sorted(registry.aliases.items()) if name in FOLLOWED}
    if not named:
        newest = store.get(registry.versions[-1].sha)
        err.print(f"no version of {newest.task} is promoted: pushing the newest, and prod there stays as it is")
        return [newest], {}
    pointers: dict[str, Pointer] = {
        name: Pointer(sha=version.sha, gate=store.noted(version, "gate")) for name, version in named.items()
    }
    return list({version.sha: version for version in named.values()}.values()), pointers


def _report(version: Version) -> str:
    """The page about a version's grading, without the rows that the local one shows; empty if it was not graded."""
    note = store.noted(version, "report")
    if note is None:
        return ""
    found = Report.model_validate(note)
    cards = [found.scorecard, *([found.baseline] if found.baseline else []), *found.views.values()]
    for card in cards:
        card.worst = []
    return reports.html(found)


def _take_over_decision(version: Version, place: Place) -> None:
    """Log the gate's decision that came with a version, so that it counts here as it did there: `factory promote` asks
    for PROMOTE against what is in production. A decision that was made here is not replaced."""
    gate, engine = store.noted(version, "gate"), tables.open_database()
    if not gate or decisions.latest(engine, version.name):
        return
    why = f"{gate.get('why', '')} (decided elsewhere, came with {place})"
    verdict = Verdict(decision=gate["decision"], why=why, labels=0, plan={}, plan_hash="")
    decisions.log(engine, version.task, version.name, gate.get("against") or "", "", "", verdict)


def _next(version: Version) -> str:
    """What can be done with a pulled version: the gate may not let it be promoted, or may not have seen it."""
    now = aliases.read(version.task).aliases.get("prod", "")
    try:
        decisions.allow(tables.open_database(), version.name, store.name_of(version.task, now))
        decisions.same_rows(version)
    except GateRefused:
        return f"{'grade' if version.task in tasks() else 'show'} version={version.short}"
    return f"promote version={version.short}"


def _remark(version: Version) -> None:
    """Say what a reader of the card would stumble over."""
    card, recipe = store.noted(version, "scorecard"), store.noted(version, "recipe") or {}
    if not card:
        err.print(f"[yellow]{version.short} has no scorecard: its card says that it was not graded[/]")
        return
    try:
        now = rubrics.load(recipe.get("rubric") or version.task).hash()
    except FactoryError:
        return
    if now != card["rubric_hash"]:
        err.print(f"[yellow]the rubric of {version.task} has changed since {version.short} was graded by it[/]")


def _release(task: str, release: Any, remote: Remote) -> dict[str, Any]:
    return {
        "task": task,
        "version": f"{task}@{release.sha}",
        **release.model_dump(include={"ordinal", "base", "fingerprint", "created", "scorecard"}),
        "place": remote.place,
    }


def row(version: dict[str, Any], what: str, *further: str) -> list[str]:
    """A version as a list shows it: its number, `what` it is, its scores, and what is `further` known of it."""
    card = version["scorecard"]
    return [
        f"{version['task']}@v{version['ordinal']}",
        what,
        *(percent(card.get(k)) for k in ("good", "poor")),
        *further,
    ]


def hash_of(version: dict[str, Any]) -> str:
    return str(version["version"].partition("@")[2][:SHORT])


def _one_below(registry: str) -> str:
    """A place that one can push to: a namespace of the Hub holds repositories, and no versions by itself."""
    place = parse(registry)
    return f"{place}/<repo>" if place.scheme == "hub" and "/" not in place.path else str(place)

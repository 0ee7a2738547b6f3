"""`factory VERB key=value … [--json]`: reads the command line, runs one verb, turns errors into exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 the gate said no, 130 interrupted. Progress and messages go to
stderr; `--json` prints one JSON object to stdout and nothing else. A verb's module is imported only when it runs.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from factory.errors import FactoryError, InputError


@dataclass(frozen=True)
class Verb:
    """One verb: what it does, its own keys, and whether it also takes the recipe's keys (`train.lr=2e-4`)."""

    does: str
    module: str
    keys: dict[str, str] = field(default_factory=dict)
    recipe: bool = False
    needs: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()  # `factory key new …`: one of these words must follow the verb


TASK = "a task's name, several with commas, or all"
VERSION = "summary, summary@v2, summary@canary or summary@<sha>"
PLACE = "hub:<namespace>/<repo>, file:<folder> or s3://<bucket>/<folder>"
VERBS = {
    "new": Verb(
        "a task folder that already trains",
        "data",
        {"task": "the new task's name", "kind": "summary, classification, identity or general"},
        needs=("task", "kind"),
    ),
    "data": Verb(
        "build a task's data set and report it",
        "data",
        {
            "task": TASK,
            "synth": "make rows instead: self-instruct, evolve, from-documents, from-labels, summarise or personas",
        },
        True,
        ("task",),
    ),
    "train": Verb(
        "data → train → grade → register; several tasks over one base",
        "train",
        {
            "task": TASK,
            "sweep": "lora.r:8,16 train.lr:1e-4,3e-4 and the like: variants of the one task, the best is kept",
        },
        True,
        ("task",),
    ),
    "grade": Verb(
        "a version's scorecard beside another's, and the gate's verdict",
        "grade",
        {"version": VERSION, "against": "prod (if there is one), another version, or base"},
        True,
        ("version",),
    ),
    "serve": Verb(
        "all promoted versions behind one OpenAI-compatible address",
        "serve",
        {
            "port": "default 8000; 0 takes a free one",
            "host": "default 127.0.0.1",
            "admin_port": "default: a free one",
            "base": "serve this base too",
            "replicas": "engines per base, default 1",
            "engine": "local (default), or ray: a Ray cluster places the engines (RAY_ADDRESS)",
            "manifests": "print Kubernetes manifests with this image instead of serving",
            "registry": f"follow what prod and canary mean there: hub:<namespace> or {PLACE}",
            "gate": "theirs (default) takes what their gate promoted; own only what was graded here and promoted",
        },
    ),
    "key": Verb(
        "keys of callers: what they may use, and how much",
        "serve",
        {
            "name": "who the key is for",
            "tasks": "tasks the key may use, with commas; left out: all, or none for a key with admin",
            "rpm": "requests a minute",
            "tpm": "tokens a minute",
            "concurrent": "requests at once",
            "admin": "scopes of the admin listener, with commas: read, load, promote",
        },
        actions=("new", "revoke", "list"),
    ),
    "quickstart": Verb(
        "train, compare, promote and serve the three shipped tasks, and ask each a question", "quickstart", recipe=True
    ),
    "demo": Verb(
        "a page to try every version, side by side",
        "pages",
        {
            "url": "an OpenAI address; the server that runs here if left out",
            "key_env": "environment variable with its key",
            "admin": "address of the admin API, for promote and roll back",
            "port": "default 7860; 0 takes a free one",
            "host": "default 127.0.0.1",
        },
    ),
    "rate": Verb(
        "the page on which people grade answers, blind; and its users",
        "pages",
        {
            "add_user": "a name; asks for the password, or makes one if it is empty",
            "role": "rater (default) or lead",
            "remove_user": "a name",
            "proxy_header": "header in which a proxy on this machine names who signed in",
            "port": "default 7861; 0 takes a free one",
            "host": "default 127.0.0.1",
        },
    ),
    "promote": Verb(
        "let a version be what its task's name means",
        "registry",
        {
            "version": VERSION,
            "canary": "a share of the callers, such as 10%, instead of all",
            "force": "why the gate is overridden, in words; it is recorded",
        },
        needs=("version",),
    ),
    "shadow": Verb(
        "send a copy of a task's requests to another version, for the record only",
        "registry",
        {"task": "a task's name", "version": "left out: no shadow any more"},
        needs=("task",),
    ),
    "rollback": Verb("go back to the version before", "registry", {"task": "a task's name"}, needs=("task",)),
    "list": Verb(
        "all tasks and their versions",
        "registry:listing",
        {"task": "only this task", "registry": f"those of another registry: {PLACE}"},
    ),
    "show": Verb("everything known of one version", "registry", {"version": VERSION}, needs=("version",)),
    "push": Verb(
        "bring versions to the Hub or to a folder, with card, scores and proofs",
        "hub:push_",
        {
            "task": "what prod and canary of this task mean here; there they will mean the same",
            "version": f"or one version: {VERSION}",
            "to": PLACE,
            "private": "default true: who may see a new repository",
            "with_data": "default false: true also pushes the rows",
        },
        needs=("to",),
    ),
    "pull": Verb(
        "fetch a version from the Hub or a folder, check it, keep it",
        "hub:pull_",
        {"from": f"{PLACE}@prod, @v3 or @<sha>"},
        needs=("from",),
    ),
    "adopt": Verb(
        "take in a plain PEFT adapter: check it, grade it, register it",
        "exchange",
        {"from": "hub:<namespace>/<repo>[@revision] or file:<folder>", "task": "the task that it is for"},
        True,
        ("from", "task"),
    ),
    "export": Verb(
        "write a version in another form, checked against the adapter",
        "exchange",
        {"version": VERSION, "form": "merged-bf16, gguf-lora or gptq", "to": "the folder; default in the home"},
        needs=("version", "form"),
    ),
    "base": Verb(
        "build or inspect a base",
        "base",
        {"build": "make the embedded base again: build=tiny", "base": "a base to prepare"},
    ),
    "top": Verb("a live view of the running server", "serve"),
    "bench": Verb(
        "measure against what one would otherwise do",
        "bench",
        {
            "only": "training, serving, data, grading, pages or gpu, several with commas",
            "soak": "minutes of moderate load on the server after the rest of serving",
            "peers": "llamafactory: install it into a throw-away environment and train the same with it",
        },
    ),
    "doctor": Verb("what is missing here, and how to get it", "doctor"),
}


def main(argv: list[str] | None = None) -> int:
    """The entry point of the `factory` command."""
    words = sys.argv[1:] if argv is None else argv
    as_json = "--json" in words
    words = [w for w in words if w != "--json"]
    # Idle OpenMP threads must sleep: when they spin, any other busy process slows a training step threefold or more.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns about an optional kernel when imported
    try:
        if not words or words[0] in ("help", "--help", "-h"):
            print(overview() if len(words) < 2 else usage(words[1]))
            return 0
        if set(words[1:]) & {"help", "--help", "-h"}:
            print(usage(words[0]))
            return 0
        name, verb, arguments, changes = parse(words)
        result = _function(name, verb)(arguments, changes, as_json)
        if as_json:
            print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return 0
    except FactoryError as error:
        print(f"factory: {error}" if "\n" not in str(error) else f"factory: several problems\n{error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("factory: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parse(words: list[str]) -> tuple[str, Verb, dict[str, str], dict[str, str]]:
    """The verb, its own arguments, and the changes to the recipe. Errors name the nearest thing that exists."""
    from factory.strict import nearest

    name = words[0]
    if name not in VERBS:
        raise InputError(f"no verb {name!r}{nearest(name, VERBS)} (all of them: factory --help)")
    verb = VERBS[name]
    arguments: dict[str, str] = {}
    changes: dict[str, str] = {}
    rest = words[1:]
    if verb.actions:
        if not rest or rest[0] not in verb.actions:
            raise InputError(f"factory {name} needs one of: {', '.join(verb.actions)} (factory {name} --help)")
        arguments["action"] = rest.pop(0)
    for word in rest:
        key, equals, value = word.partition("=")
        if word.startswith("-"):
            key = key.lstrip("-").replace("-", "_")
            raise InputError(f"{word}: write {key}={value or '…'}, without dashes")
        if not equals and ":" in key and "sweep" in arguments:
            arguments["sweep"] += f" {key}"  # the shell takes the words of a sweep apart
            continue
        if not equals:
            raise InputError(
                f"{word!r} is no key=value{f'; did you mean {verb.needs[0]}={word}?' if verb.needs else ''}"
            )
        if key in arguments or key in changes:
            raise InputError(f"{key} is given twice")
        if key in verb.keys:
            arguments[key] = value
        elif verb.recipe:
            changes[key] = value
        else:
            raise InputError(f"factory {name} takes no {key!r}{nearest(key, verb.keys)}")
    for key in verb.needs:
        if not arguments.get(key):
            raise InputError(f"factory {name} needs {key}=… ({verb.keys[key]})")
    return name, verb, arguments, changes


def overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.does}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "factory VERB key=value … [--json]",
            "",
            *lines,
            "",
            "factory VERB --help tells its keys. Start with: factory train task=summary",
        ]
    )


def usage(name: str) -> str:
    from factory.strict import nearest

    if name not in VERBS:
        raise InputError(f"no verb {name!r}{nearest(name, VERBS)}")
    verb = VERBS[name]
    shown = " ".join(f"{key}=…" if key in verb.needs else f"[{key}=…]" for key in verb.keys)
    words = " ".join(part for part in (name, "|".join(verb.actions), shown) if part)
    lines = [f"factory {words}", f"  {verb.does}", ""]
    lines += [f"  {key:<10} {text}" for key, text in verb.keys.items()]
    if verb.recipe:
        from factory.recipe import keys

        lines += ["", "  and any key of the recipe:", *(f"  {key:<28} {default}" for key, default in keys())]
    return "\n".join(lines)


def _function(name: str, verb: Verb) -> Callable[[dict[str, str], dict[str, str], bool], dict[str, Any]]:
    module, _, function = verb.module.partition(":")
    found: Callable[..., dict[str, Any]] = getattr(importlib.import_module(f"factory.verbs.{module}"), function or name)
    return found


if __name__ == "__main__":
    sys.exit(main())

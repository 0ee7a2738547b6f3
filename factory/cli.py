"""`factory VERB key=value … [--json]`: reads the command line, runs one verb, turns errors into exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 the gate said no, 130 interrupted (143 by SIGTERM). Progress and
messages go to stderr; `--json` prints one JSON object to stdout and nothing else, also when only some of the work
failed. A verb's module is imported only when it runs.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from factory.environment import settle
from factory.errors import FactoryError, InputError, of_the_disk
from factory.stopping import stoppable
from factory.verbs.table import VERBS, Verb

LONG = ("adopt", "base", "bench", "data", "doctor", "export", "grade", "pull", "push", "quickstart", "train")
SERVERS = ("demo", "rate", "serve")  # what they load takes seconds; they tell themselves how they go on


def main(argv: list[str] | None = None) -> int:
    """The entry point of the `factory` command."""
    try:
        with stoppable():
            return _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt as stopped:
        print("factory: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 128 + getattr(stopped, "number", signal.SIGINT)


def _run(words: list[str]) -> int:
    as_json = "--json" in words
    words = [w for w in words if w != "--json"]
    settle()
    try:
        if not words or words[0] in ("help", "--help", "-h"):
            print(overview() if len(words) < 2 else usage(words[1]))
            return 0
        if words[0] == "--version":
            from importlib.metadata import version

            print(f"adapter-factory {version('adapter-factory')}")
            return 0
        if set(words[1:]) & {"help", "--help", "-h"}:
            print(usage(words[0]))
            return 0
        name, verb, arguments, changes = parse(words)
        if verb.recipe and "task" in arguments:
            from factory.recipe import load_all

            load_all(arguments["task"], changes)  # so that a mistake in it is named before anything heavy is imported
        if name in SERVERS:
            print(f"factory {' '.join(words)}", file=sys.stderr, flush=True)
        with _stdout_to_stderr() if as_json else nullcontext(), _heartbeat(words) if name in LONG else nullcontext():
            result = _function(name, verb)(arguments, changes, as_json)
        if as_json:
            print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return 0
    except FactoryError as error:
        if as_json and error.result:
            print(json.dumps(error.result, ensure_ascii=False, allow_nan=False))
        print(f"factory: {error}" if "\n" not in str(error) else f"factory: several problems\n{error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if not (why := of_the_disk(error)):
            raise
        print(f"factory: {why}", file=sys.stderr)
        return 1


def _heartbeat(words: list[str]) -> Any:
    from factory.terminal import heartbeat

    return heartbeat(f"factory {' '.join(words)}")


def parse(words: list[str]) -> tuple[str, Verb, dict[str, str], dict[str, str]]:
    """The verb, its own arguments, and the changes to the recipe. Errors name the nearest thing that exists."""
    from factory.strict import nearest

    name = words[0]
    verb = _verb(name)
    arguments: dict[str, str] = {}
    changes: dict[str, str] = {}
    rest = words[1:]
    if verb.actions:
        if not rest or rest[0] not in verb.actions:
            raise InputError(f"factory {name} needs one of: {', '.join(verb.actions)} (factory {name} --help)")
        arguments["action"] = rest.pop(0)
    for word in rest:
        key, equals, value = word.partition("=")
        if verb.bare and verb.bare not in arguments and _is_text(word, verb):
            key, equals, value = verb.bare, "=", word
        if word.startswith("-"):
            key = key.lstrip("-").replace("-", "_")
            raise InputError(f"{word}: write {key}={value or '…'}, without dashes")
        if not equals and ":" in key and "sweep" in arguments:
            arguments["sweep"] += f" {key}"  # the shell takes the words of a sweep apart
            continue
        if not equals and key in verb.keys:
            raise InputError(f"{key} needs a value: write {key}=…, without spaces ({verb.keys[key]})")
        if not equals or not key:
            meant = next((need for need in verb.needs if word and need not in arguments), "")
            raise InputError(f"{word!r} is no key=value{f'; did you mean {meant}={word}?' if meant and key else ''}")
        if key in arguments or key in changes:
            raise InputError(f"{key} is given twice")
        if key in verb.keys:
            arguments[key] = value
        elif verb.recipe and not _misspelt(key, verb):
            changes[key] = value
        else:
            raise InputError(f"factory {name} takes no {key!r}{nearest(key, verb.keys)}")
    for key in verb.needs:
        if not arguments.get(key):
            raise InputError(f"factory {name} needs {key}=… ({verb.keys[key]})")
    return name, verb, arguments, changes


def _verb(name: str) -> Verb:
    from factory.strict import nearest

    if name not in VERBS:
        raise InputError(f"no verb {name!r}{nearest(name, VERBS)} (all of them: factory --help)")
    return VERBS[name]


def _is_text(word: str, verb: Verb) -> bool:
    """Whether a word of the command line is the text that a verb takes without a key, and no `key=value`."""
    key, equals, _ = word.partition("=")
    return not word.startswith("-") and word not in verb.keys and not (equals and key.isascii() and key.isidentifier())


def _misspelt(key: str, verb: Verb) -> bool:
    """Whether a key is nearly one of the verb's own, and none of the recipe's."""
    import difflib

    if "." in key or not difflib.get_close_matches(key, verb.keys, n=1, cutoff=0.7):
        return False
    from factory.recipe import Recipe

    return key not in Recipe.model_fields


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """While a verb runs for `--json`, whatever a library or a child process prints goes where the messages go."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {verb.does}" for name, verb in VERBS.items()]
    more = "factory VERB --help tells its keys. Start with: factory quickstart, or factory train task=summary"
    return "\n".join(["factory VERB key=value … [--json]", "", *lines, "", more])


def usage(name: str) -> str:
    verb = _verb(name)
    shown = " ".join(f"{key}=…" if key in verb.needs else f"[{key}=…]" for key in verb.keys)
    words = " ".join(part for part in (name, "|".join(verb.actions), shown) if part)
    lines = [f"factory {words}", f"  {verb.does}", ""]
    width = max(map(len, verb.keys), default=0)
    lines += [f"  {key:<{width}}  {text}" for key, text in verb.keys.items()]
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

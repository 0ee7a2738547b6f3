"""`factory serve` and `factory key`: all promoted versions behind one address, and who may ask there for what."""

import itertools
from contextlib import nullcontext
from functools import partial
from typing import Any

from factory.errors import InputError
from factory.registry.follow import following
from factory.registry.trust import check_signing, trusted
from factory.shares import gpus
from factory.terminal import err, out, table
from factory.verbs.hub import own_gate
from factory.verbs.table import whole
from serve import auth, kubernetes, remote, server
from serve import top as live
from serve.process import cuda


def serve(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Serve until Ctrl-C or SIGTERM; with `registry=`, what its aliases mean is what they come to mean here.

    With `manifests=image` nothing is served: the manifests for Kubernetes are printed, with a GPU for each replica.
    """
    if image := arguments.get("manifests"):
        text = kubernetes.manifests(image, whole("replicas", arguments.get("replicas", "1"), 0, 64))
        if not quiet:
            print(text, end="")
        return {"manifests": text}
    given: dict[str, Any] = {name: arguments[name] for name in ("host", "base", "engine") if name in arguments}
    if given.get("engine", "local") not in ("local", "ray"):
        raise InputError(f"engine={given['engine']}: must be local or ray")
    most = len(gpus()) if "tensor_parallel" in arguments and cuda() and given.get("engine") != "ray" else 64
    bounds = {"port": (0, 65535), "admin_port": (0, 65535), "replicas": (1, 64), "tensor_parallel": (1, max(1, most))}
    given |= {name: whole(name, arguments[name], *limits) for name, limits in bounds.items() if name in arguments}
    if "memory" in arguments:
        given["memory"] = _share(arguments["memory"])
    registry = arguments.get("registry")
    policy = arguments.get("gate", "own")
    if policy not in ("theirs", "own") or ("gate" in arguments and not registry):
        raise InputError(f"gate={policy}: must be theirs or own, beside registry=…")
    trust = trusted(registry) if registry else None
    if trust and policy == "theirs":
        if not trust.signers:
            raise InputError("gate=theirs needs a list of signers: registry=follow.yaml (factory/registry/README.md)")
        check_signing()
    tell, gate = partial(err.print, markup=False), own_gate if policy == "own" else None
    with following(trust, tell, gate) if trust else nullcontext():
        server.serve(server.Options(**given))
    return {"stopped": True}


def key(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """Make, revoke or list keys; the secret of a new one is shown once and kept nowhere."""
    console = out(quiet)
    name = arguments.get("name", "")
    if arguments["action"] == "new" and not name:
        taken = {known.name for known in auth.read_keys(auth.keys_file())}
        name = next(free for n in itertools.count(1) if (free := f"key-{n}") not in taken)
    if arguments["action"] == "list":
        keys = [k.model_dump(mode="json", exclude={"sha256"}) for k in auth.read_keys(auth.keys_file())]
        if keys:
            console.print(table("", list(keys[0]), [[_shown(value) for value in k.values()] for k in keys]))
        else:
            console.print("no keys: the server answers this machine alone; make one: factory key new tasks=…")
        return {"keys": keys}
    if not name:
        raise InputError(f"factory key {arguments['action']} needs name=… (who the key is for)")
    if arguments["action"] == "revoke":
        auth.revoke_key(name)
        console.print(f"the key of {name} is refused from now on")
        return {"revoked": name}
    limits: dict[str, Any] = {
        n: whole(n, arguments[n], 0) or None for n in ("rpm", "tpm", "concurrent") if n in arguments
    }
    limits |= {n: arguments[n].split(",") for n in ("tasks", "admin") if n in arguments}
    if "admin" in limits:
        limits.setdefault("tasks", [])  # who manages need not ask
    secret = auth.new_key(name, **limits)
    console.print(f"{secret}\nThe key of {name}. This is shown once; callers send it as their API key.")
    return {"name": name, "secret": secret}


def _shown(value: object) -> str:
    if isinstance(value, list):
        value = ",".join(value) or None
    return "–" if value is None else str(value).removesuffix(".0")


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0.05 <= share <= 0.98:
        raise InputError(f"memory={text}: the share of a GPU's memory that each engine takes, 0.05 to 0.98")
    return share


def top(arguments: dict[str, str], changes: dict[str, str], quiet: bool) -> dict[str, Any]:
    """A live view of the running server until Ctrl-C; with `--json` its state once."""
    if quiet:
        state = remote.state()
        if state is None:
            raise InputError("no server is running here: factory serve")
        return state
    live.top()
    return {}

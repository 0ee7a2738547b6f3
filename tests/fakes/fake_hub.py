"""A Hub on the loopback for tests: the part of its HTTP API that pushing, pulling, listing and adopting use.

Real HTTP over a real socket, so that huggingface_hub itself is tested: repositories with commits, tags and branches,
LFS uploads, downloads with ranges, tokens, gated repositories, and a lost race answered with 412. Faults are put in by
`hub.fault(r"GET .*safetensors", "cut")` and used up one by one. No Xet: run with HF_HUB_DISABLE_XET=1.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

WRITER, READER = "hf_" + "w" * 34, "hf_" + "r" * 34


@dataclass
class Blob:
    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """git's name of the content: of the pointer file where it is LFS."""
        data = self.data
        if self.lfs:
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def info(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = {"type": "file", "path": path, "size": len(self.data), "oid": self.oid}
        if self.lfs:
            found["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": 130}
        return found


@dataclass
class Commit:
    oid: str
    title: str
    files: dict[str, Blob]
    parent: str


@dataclass
class Repo:
    private: bool
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit(self, title: str, files: dict[str, Blob]) -> Commit:
        parent = self.branches.get("main", "")
        what = f"{parent} {title} {sorted((p, b.oid) for p, b in files.items())} {len(self.commits)}"
        made = Commit(hashlib.sha1(what.encode()).hexdigest(), title, files, parent)
        self.commits[made.oid] = made
        self.branches["main"] = made.oid
        return made

    def at(self, revision: str) -> Commit | None:
        return self.commits.get(self.branches.get(revision) or self.tags.get(revision) or revision)


class Answer(Exception):
    """Ends a request with this answer."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@dataclass
class FakeHub:
    """The server's state; `url` is its HF_ENDPOINT."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[list[Any]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)  # what downloads asked to begin with, "" for the whole file
    full: bool = False
    lock: Any = field(default_factory=threading.RLock)

    def fault(self, pattern: str, kind: str | int, times: int = 1) -> None:
        """The next `times` requests that match "METHOD path" fail: a status number, or cut, drop, lost (done, but the
        answer never comes), slow, silent (nothing for long), stuck (one byte,
        then nothing), wrong (other bytes), stale (main's bytes)."""
        self.faults.append([re.compile(pattern), kind, times])

    def next_fault(self, request: str) -> str | int | None:
        with self.lock:
            self.requests.append(request)
            for fault in self.faults:
                if fault[2] and fault[0].search(request):
                    fault[2] -= 1
                    return fault[1]  # type: ignore[no-any-return]
        return None


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Bound(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body leave at once; else each answer waits 40 ms for an acknowledgement
    state: FakeHub

    def log_message(self, *_: Any) -> None:
        pass

    def do(self) -> None:
        url = urlsplit(self.path)
        path, self.query = unquote(url.path), parse_qs(url.query)
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.command == "GET" and "/resolve/" in path:
            self.state.ranges.append(self.headers.get("range", ""))
        fault = self.state.next_fault(f"{self.command} {path}")
        if fault == "drop":
            return self.hang_up()
        if fault == "silent":
            time.sleep(40)
        try:
            if isinstance(fault, int):
                raise Answer(fault, {"error": "fault"}, retry_after="0")
            with self.state.lock:
                self.state.bodies.append(self.body)
                self.route(path, stale=fault == "stale")
        except Answer as answer:
            self.send(answer, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def send(self, answer: Answer, fault: str | int | None) -> None:
        if fault == "lost":
            return self.hang_up()
        body = answer.body
        if fault == "wrong" and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        self.send_response(answer.status)
        if "Content-Length" not in answer.headers:
            self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if fault == "cut":
            self.wfile.write(body[: len(body) // 2])
            return self.hang_up()
        if fault == "slow":
            for at in range(0, len(body), max(1, len(body) // 8)):
                self.wfile.write(body[at : at + max(1, len(body) // 8)])
                self.wfile.flush()
                time.sleep(0.03)
            return
        if fault == "stuck":
            self.wfile.write(body[:1])
            self.wfile.flush()
            time.sleep(2)
            return self.hang_up()
        self.wfile.write(body)

    # What is asked for

    def route(self, path: str, stale: bool) -> None:
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token and token not in (WRITER, READER):
            raise Answer(401, X_Error_Message="Invalid credentials in Authorization header")
        self.token = token
        for pattern, method in ROUTES:
            verb, _, form = pattern.partition(" ")
            if self.command in verb.split("|") and (match := re.fullmatch(form, path)):
                if "repo" in match.groupdict():
                    self.repo = self.allowed(match["repo"])
                getattr(self, method)(**match.groupdict(), **({"stale": stale} if method == "resolve" else {}))
        raise Answer(404, {"error": f"no route for {self.command} {path}"})

    def allowed(self, name: str) -> Repo:
        repo = self.state.repos.get(name)
        if repo is None or (repo.private and not self.token):
            raise Answer(
                404 if self.token else 401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found"
            )
        if repo.gated and self.token != WRITER and "/resolve/" in self.path:
            raise Answer(403, X_Error_Code="GatedRepo", X_Error_Message="Access to this model is restricted")
        return repo

    def writing(self) -> None:
        if self.token != WRITER:
            raise Answer(403, X_Error_Message="You have read access but not the required permissions")
        if self.state.full:
            raise Answer(403, X_Error_Message="Private repository storage limit reached")

    def revision(self, revision: str) -> Commit:
        found = self.repo.at(revision)
        if found is None:
            raise Answer(404, X_Error_Code="RevisionNotFound", X_Error_Message=f"Invalid rev id: {revision}")
        return found

    def create(self) -> None:
        self.writing()
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.state.repos:
            raise Answer(409, {"error": "You already created this model repo", "url": f"{self.state.url}/{name}"})
        repo = self.state.repos[name] = Repo(private=asked.get("visibility") == "private")
        repo.commit("initial commit", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", False)})
        raise Answer(200, {"url": f"{self.state.url}/{name}", "name": name})

    def validate(self) -> None:
        head = json.loads(self.body)["content"].split("---\n")
        try:
            fine = len(head) > 2 and isinstance(yaml.safe_load(head[1]), dict)
        except yaml.YAMLError:
            fine = False
        raise Answer(200 if fine else 400, {"errors": [] if fine else [{"message": "no metadata"}], "warnings": []})

    def models(self) -> None:
        found = []
        for name, repo in self.state.repos.items():
            readme = self.state.repos[name].commits[repo.branches["main"]].files.get("README.md")
            tags = yaml.safe_load(readme.data.split(b"---\n")[1])["tags"] if readme else []
            wanted = self.query.get("filter", [])
            mine = name.startswith(self.query["author"][0] + "/") and (self.token or not repo.private)
            if mine and set(wanted) <= set(tags):
                found.append({"id": name, "tags": tags})
        raise Answer(200, found)

    def model(self, repo: str, rev: str | None = None) -> None:
        commit = self.revision(rev or "main")
        siblings = [{"rfilename": path} for path in commit.files]
        raise Answer(200, {"id": repo, "sha": commit.oid, "siblings": siblings, "private": self.repo.private})

    def refs(self, repo: str) -> None:
        def listed(refs: dict[str, str], kind: str) -> list[dict[str, str]]:
            return [{"name": n, "ref": f"refs/{kind}/{n}", "targetCommit": oid} for n, oid in refs.items()]

        branches, tags = listed(self.repo.branches, "heads"), listed(self.repo.tags, "tags")
        raise Answer(200, {"branches": branches, "tags": tags, "converts": []})

    def commits(self, repo: str, rev: str) -> None:
        found, at = [], self.revision(rev)
        while True:
            found.append(
                {"id": at.oid, "title": at.title, "message": "", "authors": [], "date": "2026-01-01T00:00:00.000Z"}
            )
            if not at.parent:
                raise Answer(200, found)
            at = self.repo.commits[at.parent]

    def tree(self, repo: str, rev: str) -> None:
        raise Answer(200, [blob.info(path) for path, blob in sorted(self.revision(rev).files.items())])

    def paths(self, repo: str, rev: str) -> None:
        files = self.revision(rev).files
        wanted = parse_qs(self.body.decode())["paths"]
        raise Answer(200, [files[path].info(path) for path in wanted if path in files])

    def preupload(self, repo: str, rev: str) -> None:
        self.writing()
        files = self.revision(rev).files
        answer = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if file["path"].endswith((".safetensors", ".png")) else "regular"
            there = files.get(file["path"])
            answer.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": there.oid if there else None}
            )
        raise Answer(200, {"files": answer})

    def batch(self, repo: str) -> None:
        self.writing()
        objects = []
        for asked in json.loads(self.body)["objects"]:
            found = {"oid": asked["oid"], "size": asked["size"]}
            if asked["oid"] not in self.state.objects:
                found["actions"] = {"upload": {"href": f"{self.state.url}/lfs/{asked['oid']}"}}
            objects.append(found)
        raise Answer(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Answer(400, {"error": "the content is not what its name says"})
        self.state.objects[oid] = self.body
        raise Answer(200)

    def commit(self, repo: str, rev: str) -> None:
        self.writing()
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        head = self.repo.branches["main"]
        if header.get("parentCommit", head) != head:
            raise Answer(412, {"error": "A commit has happened since. Please refresh and try again."})
        files = dict(self.repo.commits[head].files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.state.objects:
                    raise Answer(400, {"error": "LFS object missing"})
                files[value["path"]] = Blob(self.state.objects[value["oid"]], True)
            elif files.pop(value["path"], None) is None:
                raise Answer(404, {"error": "A file with this name doesn't exist"}, X_Error_Code="EntryNotFound")
        made = self.repo.commit(header["summary"], files)
        raise Answer(200, {"commitUrl": f"{self.state.url}/{repo}/commit/{made.oid}", "commitOid": made.oid})

    def tag(self, repo: str, rev: str) -> None:
        self.writing()
        name = json.loads(self.body)["tag"]
        if name in self.repo.tags:
            raise Answer(409, {"error": f"Tag reference exists already: {name}"})
        self.repo.tags[name] = self.revision(rev).oid
        raise Answer(200)

    def resolve(self, repo: str, rev: str, path: str, stale: bool) -> None:
        asked = self.revision(rev)
        commit = self.revision("main") if stale else asked
        blob = commit.files.get(path)
        if blob is None:
            raise Answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit.oid)
        etag = blob.sha256 if blob.lfs else blob.oid
        headers = {"ETag": f'"{etag}"', "X_Repo_Commit": asked.oid, "Accept_Ranges": "bytes"}
        if blob.lfs:
            headers |= {"X_Linked_Etag": f'"{etag}"', "X_Linked_Size": str(len(blob.data))}
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        if match and 0 < int(match[1]) < len(blob.data):
            part = f"bytes {match[1]}-{len(blob.data) - 1}/{len(blob.data)}"
            raise Answer(206, blob.data[int(match[1]) :], Content_Range=part, **headers)
        raise Answer(200, blob.data, Content_Length=str(len(blob.data)), **headers)


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"
_REV = r"(?P<rev>[^/]+)"
ROUTES = (
    ("POST /api/repos/create", "create"),
    ("POST /api/validate-yaml", "validate"),
    ("GET /api/models", "models"),
    (f"GET /api/models/{_REPO}", "model"),
    (f"GET /api/models/{_REPO}/revision/{_REV}", "model"),
    (f"GET /api/models/{_REPO}/refs", "refs"),
    (f"GET /api/models/{_REPO}/commits/{_REV}", "commits"),
    (f"GET /api/models/{_REPO}/tree/{_REV}", "tree"),
    (f"POST /api/models/{_REPO}/paths-info/{_REV}", "paths"),
    (f"POST /api/models/{_REPO}/preupload/{_REV}", "preupload"),
    (f"POST /{_REPO}\\.git/info/lfs/objects/batch", "batch"),
    ("PUT /lfs/(?P<oid>[0-9a-f]{64})", "upload"),
    (f"POST /api/models/{_REPO}/commit/{_REV}", "commit"),
    (f"POST /api/models/{_REPO}/tag/{_REV}", "tag"),
    (f"GET|HEAD /{_REPO}/resolve/{_REV}/(?P<path>.+)", "resolve"),
)

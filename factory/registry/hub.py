"""A task's registry in a repository of the Hub: a version is a commit with a tag, the catalogue a file on `main`.

Every change is one commit on top of the head that was read (`parent_commit`); the Hub refuses it where another one
came first. A version's tag follows its commit: where a push was cut between the two, the commit is found by its title.
What is downloaded is asked for by commit, never by tag or branch, and is not trusted before its content is hashed.

Endpoint, token, offline mode and proxies are huggingface_hub's: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE. A private Hub
without Xet storage needs HF_HUB_DISABLE_XET=1.
"""

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from factory import stopping
from factory.home import sha256
from factory.registry.faults import explained, transient
from factory.registry.remote import CATALOGUE, Catalogue, Lost, Release, RemoteError, State
from factory.registry.store import CONFIG, FACTS, WEIGHTS

TAG = "adapter-factory"  # stands in every card, so that a namespace can be listed
OWN = ("README.md", WEIGHTS, CONFIG, FACTS)  # what a push may replace or remove, with all of OWN_FOLDER
OWN_FOLDER = "factory/"
TIMEOUT = 60.0  # seconds without a byte until a request counts as lost; huggingface_hub itself would wait for ever
WAITS = (0.5, 2.0, 5.0)  # seconds before each repetition of a request that failed in passing
T = TypeVar("T")


@dataclass
class Hub:
    """One repository. `place` is how the user wrote it."""

    place: str
    repo: str
    private: bool = True
    _commits: dict[str, str] = field(default_factory=dict)  # version's hash → commit

    def create(self) -> None:
        with explained(self.place, "create"):
            again(lambda: api().create_repo(self.repo, private=self.private, exist_ok=True))

    def read(self) -> State:
        from huggingface_hub.errors import RemoteEntryNotFoundError

        with explained(self.place, "read"):
            head = self._refs()[0].get("main", "")
            try:
                text = again(lambda: _read(self.repo, CATALOGUE, head)) if head else b""
            except RemoteEntryNotFoundError:
                text = b""
        if not text:
            return State(None, head)
        return State(Catalogue.of(text, self.place), head)

    def write(
        self, state: State, catalogue: Catalogue, title: str, files: Mapping[str, Path], release: Release | None
    ) -> None:
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.errors import HfHubHTTPError

        with explained(self.place, "push to"):
            # Fresh operations for each try: huggingface_hub leaves out what the head already has, and the head moves.
            operations: list[Any] = [CommitOperationAdd(name, str(path)) for name, path in sorted(files.items())]
            operations.append(CommitOperationAdd(CATALOGUE, catalogue.text()))
            if release:
                there = again(lambda: api().list_repo_files(self.repo, revision=state.at))
                gone = (name for name in there if name in OWN or name.startswith(OWN_FOLDER))
                operations += [CommitOperationDelete(name) for name in gone if name not in files]
            try:
                done = stopping.leaving(
                    lambda: api().create_commit(
                        self.repo, operations, commit_message=title, parent_commit=state.at, num_threads=2
                    )
                )
            except HfHubHTTPError as error:
                if error.response.status_code in (409, 412):
                    raise Lost(
                        f"{self.place} was changed by someone else meanwhile: look at it again and repeat"
                    ) from None
                raise
            if release:
                self._commits[release.sha] = done.oid
                self._check(done.oid, files)
                self._tag(release, done.oid)

    def finish(self, release: Release) -> None:
        with explained(self.place, "push to"):
            if release.tag not in self._refs()[1]:
                self._tag(release, self._commit(release))

    def fetch(self, release: Release, names: Iterable[str], folder: Path) -> None:
        with explained(self.place, f"download {release.tag} from"):
            commit = self._commit(release)
            for name in names:
                again(lambda name=name: download(self.repo, name, commit, folder))  # type: ignore[misc]

    def _commit(self, release: Release) -> str:
        """The commit of a version: what its tag means, else the one whose title names its hash."""
        if release.sha not in self._commits:
            found = self._refs()[1].get(release.tag)
            if found is None:
                commits = again(lambda: api().list_repo_commits(self.repo))
                found = next((c.commit_id for c in commits if c.title.endswith(release.sha)), None)
            if found is None:
                raise RemoteError(
                    "no revision",
                    f"{self.place}: {release.tag} is gone, with its tag and its commit: push it to another place",
                )
            self._commits[release.sha] = found
        return self._commits[release.sha]

    def _refs(self) -> tuple[dict[str, str], dict[str, str]]:
        """Branches and tags, each with the commit it means."""
        refs = again(lambda: api().list_repo_refs(self.repo))
        return (
            {ref.name: ref.target_commit for ref in refs.branches},
            {ref.name: ref.target_commit for ref in refs.tags},
        )

    def _tag(self, release: Release, commit: str) -> None:
        again(lambda: api().create_tag(self.repo, tag=release.tag, revision=commit, exist_ok=True))
        if self._refs()[1].get(release.tag) != commit:
            raise RemoteError("other", f"{self.place} has another tag {release.tag}, which this project did not make")

    def _check(self, commit: str, files: Mapping[str, Path]) -> None:
        """The Hub must hold what was sent: it names each file by a hash of its content."""
        infos = again(lambda: api().get_paths_info(self.repo, sorted(files), revision=commit))
        there = {info.path: info for info in infos}
        for name, path in files.items():
            info: Any = there.get(name)
            same = info is not None and info.size == path.stat().st_size
            if same and info.lfs:
                same = info.lfs.sha256 == sha256(path)
            elif same:
                data = path.read_bytes()
                same = info.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            if not same:
                raise RemoteError("hash", f"{self.place} holds another {name} than was sent: push again")


def repositories(namespace: str) -> list[str]:
    """The repositories of a namespace that this project made (as far as the token may see them)."""
    with explained(f"hub:{namespace}", "list"):
        return sorted(model.id for model in api().list_models(author=namespace, filter=TAG))  # waits by itself


def download(repo: str, name: str, commit: str, folder: Path) -> Path:
    """One file of a commit into `folder`, unless it is there. Nothing comes from or into a cache."""
    found = api().hf_hub_download(
        repo, name, revision=commit, local_dir=str(folder), cache_dir=str(folder / ".cache" / "hub")
    )
    return Path(found)


def again(call: Callable[[], T]) -> T:
    """Call until it succeeds; a failure that passes by itself is waited out, at most len(WAITS) times."""
    waits = [*WAITS]
    while True:
        try:
            return call()
        except Exception as error:
            if not waits or not transient(error):
                raise
            time.sleep(waits.pop(0) * random.uniform(0.8, 1.2))


def api() -> Any:
    from huggingface_hub import HfApi, get_session

    get_session().timeout = TIMEOUT
    return HfApi(library_name="adapter-factory")


def _read(repo: str, name: str, commit: str) -> bytes:
    from huggingface_hub import get_session, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    at = api()
    url = hf_hub_url(repo, name, revision=commit, endpoint=at.endpoint)
    reply = get_session().get(url, headers=build_hf_headers(token=at.token))
    hf_raise_for_status(reply)
    return bytes(reply.content)

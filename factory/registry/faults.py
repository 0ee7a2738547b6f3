"""What went wrong with the Hub, in one line that says what to do, and nothing secret in it.

The Hub tells little apart: a repository that is not there, one that the token may not see and no token at all come as
"not found", a full account and a missing right both as 403. What it does tell apart is kept apart here.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from factory.errors import first_line
from factory.registry.remote import ErrorKind, RemoteError

_FULL = re.compile(r"quota|storage limit|exceeded|out of storage|payment required", re.IGNORECASE)
_SECRET_NAME = re.compile(r"(TOKEN|SECRET|PASSWORD|_KEY|APIKEY)$")
_SECRET = re.compile(
    r"hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}|xox[abpr]-[A-Za-z0-9-]{10,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)|(?<=[Bb]earer )[A-Za-z0-9._~+/-]{16,}"
)


@contextmanager
def explained(place: str, doing: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into a RemoteError for `place`; `doing` is "push to", "read" and the like."""
    from httpx2 import HTTPError, NetworkError, ProtocolError, TimeoutException
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    def fault(kind: ErrorKind, why: str, todo: str) -> RemoteError:
        return RemoteError(kind, redacted(f"cannot {doing} {place}: {why}; {todo}"))

    try:
        yield
    except HfHubHTTPError as error:
        raise fault(*_http(error)) from None
    except (NetworkError, TimeoutException, ProtocolError, LocalEntryNotFoundError, ConnectionError) as error:
        if _caused_by(error, OfflineModeIsEnabled):
            raise fault("offline", "HF_HUB_OFFLINE is set", "unset it to reach the Hub") from None
        if (answer := _caused_by(error, HfHubHTTPError)) is not None:
            raise fault(*_http(answer)) from None
        why = f"the Hub cannot be reached ({first_line(error)[:200]})"
        raise fault("network", why, "check the network and HF_ENDPOINT, and repeat: it goes on where it was") from None
    except HFValidationError as error:
        raise fault("other", first_line(error)[:200], "write hub:<namespace>/<repo>") from None
    except (HTTPError, OSError, ValueError, KeyError, RuntimeError) as error:
        raise fault("other", f"the Hub's answer is not understood ({first_line(error)[:200]})", "repeat it") from None


def redacted(text: str) -> str:
    """The text with every known token and everything that looks like one blotted out."""
    for value in secret_values():
        text = text.replace(value, "***")
    return _SECRET.sub("***", text)


def leaks(text: str) -> str:
    """What kind of secret stands in a text, or nothing: it must never leave this machine."""
    if any(value in text for value in secret_values()):
        return "the value of a secret environment variable or the Hub's token"
    return "something that looks like a key, a token or a password in a URL" if _SECRET.search(text) else ""


def secret_values() -> Iterable[str]:
    """The values of this process's secrets: the Hub's token, and variables whose names say so."""
    from huggingface_hub import get_token

    values = [value for name, value in os.environ.items() if _SECRET_NAME.search(name.upper())]
    return sorted({value for value in (get_token(), *values) if value and len(value) >= 12}, key=len, reverse=True)


def transient(error: BaseException) -> bool:
    """Whether the same request may succeed in a moment."""
    from httpx2 import NetworkError, ProtocolError, TimeoutException
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429, 500, 502, 503, 504)
    return isinstance(error, NetworkError | TimeoutException | ProtocolError)


def _http(error: BaseException) -> tuple[ErrorKind, str, str]:
    from huggingface_hub import errors

    assert isinstance(error, errors.HfHubHTTPError)
    status = error.response.status_code
    said = (error.server_message or error.response.headers.get("x-error-message") or "").strip()
    if isinstance(error, errors.GatedRepoError):
        return "gated", "it is gated", "ask for access on its page on the Hub, and set HF_TOKEN"
    if isinstance(error, errors.RevisionNotFoundError):
        return "no revision", "that revision is gone", "see what there is: factory list registry=hub:<namespace>/<repo>"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        name = str(error.response.request.url).rsplit("/", 1)[-1].partition("?")[0]
        return (
            "no revision",
            f"it holds no {name} there",
            "push that version to another place, or adopt it if it is a plain adapter",
        )
    if status == 401 and "credential" in said.lower():
        return "token", "the token is wrong or has expired", "set HF_TOKEN anew"
    if isinstance(error, errors.RepositoryNotFoundError) or status == 401:
        return "no repo", "there is no such repository, or the token may not see it", "check the name and HF_TOKEN"
    if status in (402, 413, 507) or (status == 403 and _FULL.search(said)):
        return "quota", f"the Hub has no room left for it ({said or status})", "free some, or raise the account's limit"
    if status == 403:
        return "no access", f"the token may not do this ({said or 'no right to write'})", "take a token that may"
    if status == 429:
        return "quota", "too many requests", "wait a few minutes and repeat"
    if status >= 500:
        return "server", f"the Hub is in trouble ({status})", "repeat it later: it goes on where it was"
    return "other", f"the Hub refuses it ({status} {said or first_line(error)[:200]})", "check the name and the files"


def _caused_by(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, kind):
        seen = seen.__cause__
    return seen

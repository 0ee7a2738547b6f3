"""What can go wrong, as a tree; the command line turns each into one message and an exit code.

    FactoryError            1  something failed: the message says what and what to do
    ├── InputError          2  wrong usage or input: lists every problem found, with file, line and key
    └── GateRefused         3  the promotion gate said no

Anything else that reaches the command line is a bug of ours and shows its traceback.
"""

import errno
from dataclasses import dataclass
from typing import Any


class FactoryError(Exception):
    """Something failed that the user can act on. The message is shown as it is, without a traceback.

    `result` is what came about before it failed, if anything did: `--json` shows it all the same.
    """

    exit_code = 1
    result: dict[str, Any] | None = None


@dataclass(frozen=True)
class Problem:
    """One fault in one place of the user's input."""

    message: str
    file: str = ""
    line: int = 0
    key: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, self.message) if part)


class InputError(FactoryError):
    """The user's input is wrong. Carries all problems at once, so that one edit can mend them all; of one alone the
    keywords say where it is."""

    exit_code = 2

    def __init__(self, *problems: Problem | str, file: str = "", line: int = 0, key: str = "") -> None:
        self.problems = [p if isinstance(p, Problem) else Problem(p, file, line, key) for p in problems]
        super().__init__("\n".join(map(str, self.problems)))


class GateRefused(FactoryError):
    """The gate did not allow a promotion. `decision` is REJECT or INCONCLUSIVE."""

    exit_code = 3

    def __init__(self, decision: str, why: str) -> None:
        self.decision, self.why = decision, why
        super().__init__(f"{decision}: {why}")


def first_line(error: BaseException) -> str:
    """What an error of some library says in its first line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)  # what the user can mend, and we cannot
FULL = ("database or disk is full", "No space left on device")  # as SQLite and libraries in other languages say it


def of_the_disk(error: BaseException | None) -> str:
    """What a full or forbidden disk has to do with an error that some library made of it; empty if nothing."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK:
            return f"{error.filename or 'the disk'}: {error.strerror}"
        if any(said in str(error) for said in FULL):
            return f"the disk is full ({first_line(error)})"
        error = error.__cause__
    return ""

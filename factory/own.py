"""What a project defines in Python files of its own: checks of a rubric, the model of an answer."""

import functools
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from factory.errors import InputError
from factory.home import project


def defined(name: str) -> Any:
    """What `adapters/sums/check.py:right` names. InputError: no such file, nothing of that name, or it fails."""
    file, _, wanted = name.partition(":")
    path = (project() / file).resolve()
    if not path.is_relative_to(project().resolve()) or not path.is_file():
        raise InputError(f"the project has no file {file}")
    found = getattr(_module(path, path.read_text(encoding="utf-8")), wanted, None)
    if not callable(found):
        raise InputError(f"{file} has no function {wanted}, nor a class of that name")
    return found


@functools.lru_cache
def _module(path: Path, text: str) -> ModuleType:
    """A file as a module, by the text that it has now."""
    module = ModuleType(f"own_{path.parent.name}_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where pydantic looks names up
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)
    except Exception as error:  # whatever its author's mistake is
        raise InputError(f"{path.parent.name}/{path.name} cannot be imported: {error!r}") from None
    return module

"""What the registry keeps and sends as JSON, read strictly; what a later release wrote is told apart from damage."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from factory.errors import FactoryError
from factory.strict import Key, dotted

M = TypeVar("M", bound=BaseModel)


class Newer(FactoryError):
    """Something says of itself what this release does not know."""


def read(model: type[M], data: bytes, *choices: Key) -> M:
    """The JSON as a `model`. Newer: it has keys that are unknown here, or at one of the places `choices` such a value;
    ValueError, in a line: it is something else."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    unknown = [
        f"{dotted(fault['loc'])} {str(fault['input'])[:80]!r}"
        for fault in faults
        if fault["type"] == "extra_forbidden" or fault["loc"] in choices
    ]
    if unknown:
        raise Newer(f"needs a newer release of this project: it has {', '.join(unknown)}, unknown here")
    raise ValueError(f"{dotted(faults[0]['loc'])} {faults[0]['msg']}".strip())

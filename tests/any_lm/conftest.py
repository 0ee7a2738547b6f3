"""Each animal of the zoo, built and prepared once for the whole run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from factory.base.build import Base, prepare
from tests.any_lm.zoo import Animal, build

Prepared = Callable[[Animal], Base]


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


@pytest.fixture(scope="session")
def prepared(home: Path, zoo: Path) -> Prepared:
    """The animal's base, in 4 bits."""

    made: dict[str, Base] = {}

    def base(animal: Animal) -> Base:
        if animal.name not in made:
            made[animal.name] = prepare(str(build(animal, zoo / animal.name)))
        return made[animal.name]

    return base


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Products this small are not worth a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

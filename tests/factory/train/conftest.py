"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from factory.base.build import Base, load_model
from tests.factory.train.fused_support import make_base


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small products are not worth a second thread, least of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(base: Base) -> Any:
    return load_model(base)

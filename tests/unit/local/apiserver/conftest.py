from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.api import Api, running_api
from support.virtual_time import pytest_asyncio_loop_factories

__all__ = ["pytest_asyncio_loop_factories"]


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    async with running_api() as found:
        yield found

"""An event loop whose clock jumps to the next timer when there is nothing else to do.

The ``conftest.py`` of a folder takes it for all tests there by ``from support.virtual_time import
pytest_asyncio_loop_factories``; a module whose ``REAL_TIME`` is true keeps the ordinary loop. It is for tests that
live in this process alone: for the clock, another process is nothing to do. Threads of ``asyncio.to_thread`` are
waited for in real time, and sockets get a moment to deliver.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

__all__ = ["VirtualLoop", "now", "pytest_asyncio_loop_factories"]

START = datetime(2030, 1, 1, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module's docstring. The clock starts at 0."""

    def __init__(self) -> None:
        self._virtual = 0.0
        self._in_threads = 0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._virtual

    def jump(self, seconds: float) -> None:
        """Move the clock, as if the machine had slept."""
        self._virtual += seconds

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = super().run_in_executor(executor, func, *args)
        self._in_threads += 1
        future.add_done_callback(self._left_thread)
        return future

    def _left_thread(self, _: asyncio.Future[Any]) -> None:
        self._in_threads -= 1


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type,misc]
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self._loop._in_threads:
            return super().select(None)
        # The loop's own wake-up pipe is always there; anything else may be about to deliver.
        if len(self.get_map()) > 1 and (ready := super().select(0.003)):
            return ready
        self._loop.jump(timeout)
        return []


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    """Tell pytest-asyncio which loop to use for a test (its hook)."""
    if getattr(item.module, "REAL_TIME", False):
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}


def now() -> datetime:
    """Return the wall clock that belongs to the running loop."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())

"""Leader election by a Lease object: of several processes with the same task, one acts.

Rules and default times are client-go's (v0.36, ``tools/leaderelection``). Nobody's wall clock is trusted: a lease has
expired when it has not changed for its duration as *this* process has watched it. What a leader does, and that it stops
when the lead is lost, is the manager's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hortator.apimachinery.meta import micro_time
from hortator.kube.client import Client, Object
from hortator.kube.errors import AlreadyExists, ApiError, Conflict, NotFound, Unavailable
from hortator.kube.resources import LEASES

__all__ = ["LeaderElector"]

_log = logging.getLogger(__name__)

_JITTER = 1.2
#: Seconds that giving the lead back may take when the process ends.
_RELEASE_TIMEOUT = 5.0


class LeaderElector:
    """One candidate. ``identity`` must be unique; times are in seconds on the event loop's clock.

    ``lease_duration`` > ``renew_deadline`` > ``retry_period`` * 1.2, else ``ValueError``: a leader must have given up
    before others may take over.
    """

    def __init__(
        self,
        client: Client,
        *,
        name: str,
        namespace: str,
        identity: str,
        lease_duration: float = 15.0,
        renew_deadline: float = 10.0,
        retry_period: float = 2.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: Callable[[], float] = random.random,
    ) -> None:
        if not lease_duration > renew_deadline > retry_period * _JITTER > 0:
            raise ValueError(
                f"lease_duration {lease_duration:g} > renew_deadline {renew_deadline:g} > "
                f"{_JITTER} * retry_period {retry_period:g} does not hold"
            )
        self._client = client
        self._name = name
        self._namespace = namespace
        self.identity = identity
        self._duration = lease_duration
        self._deadline = renew_deadline
        self._retry = retry_period
        self._now = now
        self._rng = rng
        self._lease: Object | None = None
        self._observed = 0.0

    def __str__(self) -> str:
        return f"lease {self._namespace}/{self._name}"

    @property
    def leader(self) -> str:
        """The identity of the last leader seen; empty when there is none."""
        return _spec(self._lease).get("holderIdentity") or ""

    @property
    def is_leader(self) -> bool:
        """Whether this candidate leads, as far as it knows."""
        return self.leader == self.identity and not self._expired()

    async def acquire(self) -> None:
        """Return once this candidate leads; until then, failures are logged and tried again."""
        while True:
            if await self._attempt():
                break
            await asyncio.sleep(self._retry * (1 + _JITTER * self._rng()))
        _log.info("%s: %s leads", self, self.identity)

    async def hold(self) -> None:
        """Renew the lease; return when another leads, or when renewing has failed for ``renew_deadline``.

        When cancelled, the lease is given back, so that the next leader need not wait for its end.
        """
        loop = asyncio.get_running_loop()
        renewed = self._observed
        try:
            while True:
                await asyncio.sleep(self._retry)
                renewing = False
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(renewed + self._deadline):
                        renewing = await self._attempt()
                if renewing:
                    renewed = loop.time()
                elif loop.time() >= renewed + self._deadline:
                    _log.warning("%s: not renewed for %g s; giving up", self, self._deadline)
                    return
                if self.leader not in (self.identity, ""):
                    _log.warning("%s: %s leads now", self, self.leader)
                    return
        except asyncio.CancelledError:
            await self._release()
            raise

    async def _attempt(self) -> bool:
        """Take or renew the lease if that is possible now; say whether this candidate leads."""
        try:
            if self.is_leader:
                try:
                    await self._write(self._lease)
                except (Conflict, NotFound):
                    pass  # changed or deleted by somebody: look at it again
                else:
                    return True
            try:
                lease = await self._client.get(LEASES, self._name, namespace=self._namespace)
            except NotFound:
                await self._write(None)
                return True
            if self._lease is None or _spec(lease) != _spec(self._lease):
                self._observe(lease)
            else:
                self._lease = lease
            if self.leader not in (self.identity, "") and not self._expired():
                return False
            await self._write(lease)
        except (AlreadyExists, Conflict) as error:
            _log.debug("%s: another candidate was faster: %s", self, error)
            return False
        except (ApiError, Unavailable) as error:
            _log.warning("%s: %s", self, error)
            return False
        return True

    async def _write(self, lease: Object | None) -> None:
        now = micro_time(self._now())
        before = _spec(lease)
        spec: dict[str, Any] = {
            **before,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(self._duration),
            "renewTime": now,
        }
        if before.get("holderIdentity") != self.identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = (before.get("leaseTransitions") or 0) + 1 if lease is not None else 0
        if lease is None:
            metadata = {"name": self._name, "namespace": self._namespace}
            fresh = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": metadata,
                "spec": spec,
            }
            self._observe(await self._client.create(LEASES, fresh))
        else:
            self._observe(
                await self._client.replace(LEASES, {**lease, "spec": spec}, namespace=self._namespace)
            )

    async def _release(self) -> None:
        lease = self._lease
        if lease is None or not self.is_leader:
            return
        now = micro_time(self._now())
        spec = {key: value for key, value in _spec(lease).items() if key != "holderIdentity"}
        spec |= {"leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                self._observe(
                    await self._client.replace(LEASES, {**lease, "spec": spec}, namespace=self._namespace)
                )
        except (ApiError, Unavailable, TimeoutError) as error:
            _log.warning("%s: not given back, it will run out: %s", self, error)

    def _observe(self, lease: Object) -> None:
        self._lease = lease
        self._observed = asyncio.get_running_loop().time()

    def _expired(self) -> bool:
        duration = _spec(self._lease).get("leaseDurationSeconds") or 0
        return asyncio.get_running_loop().time() >= self._observed + duration


def _spec(lease: Object | None) -> dict[str, Any]:
    return (lease or {}).get("spec") or {}

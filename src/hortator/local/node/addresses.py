"""An address of its own in 127.0.0.0/8 for each pod of this machine. Pure."""

from __future__ import annotations

__all__ = ["AddressPool"]

_FIRST = (127 << 24) | (64 << 16) | 1  # 127.64.0.1; the low ones are used by machines' own services
_LAST = (127 << 24) | (127 << 16) | 0xFFFE


class AddressPool:
    """Hands out addresses, the longest unused first, so that a late connection does not reach another pod."""

    def __init__(self) -> None:
        self._next = _FIRST
        self._by_owner: dict[str, str] = {}
        self._taken: set[str] = set()

    def take(self, owner: str, wanted: str = "") -> str:
        """Return the owner's address: the one it has, the wanted one if free, or the next free one."""
        if owner in self._by_owner:
            return self._by_owner[owner]
        address = wanted if wanted and wanted not in self._taken else self._free()
        self._by_owner[owner] = address
        self._taken.add(address)
        return address

    def release(self, owner: str) -> None:
        """Take an address back; an unknown owner is none."""
        self._taken.discard(self._by_owner.pop(owner, ""))

    def _free(self) -> str:
        while True:
            number = self._next
            self._next = number + 1 if number < _LAST else _FIRST
            address = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
            if address not in self._taken and number & 255 not in (0, 255):
                return address

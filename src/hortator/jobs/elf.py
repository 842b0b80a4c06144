"""Which shared libraries a program would load, read from its file: no `ldd`, which runs the program's loader.

Enough of ELF (64 and 32 bits, little endian) and of glibc's rules for finding libraries: RPATH, ``LD_LIBRARY_PATH``,
RUNPATH, ``ld.so.cache``, the default folders. Few imports, because the launcher reads ELF before each job.
"""

# ruff: noqa: PTH110, PTH120
# pathlib alone would double the start-up time.
from __future__ import annotations

import os
import struct

__all__ = ["Elf", "Libraries", "read_elf"]

DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_SONAME, DT_RPATH, DT_RUNPATH = 0, 1, 5, 10, 14, 15, 29
PT_LOAD, PT_DYNAMIC = 1, 2
#: No table that we read is longer in a file that is right.
MAX_PART = 1 << 26
DEFAULT_FOLDERS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")


class Elf:
    """What the dynamic section of one file says."""

    __slots__ = ("needed", "path", "rpath", "runpath", "soname")

    def __init__(
        self, path: str, *, needed: list[str], soname: str, rpath: list[str], runpath: list[str]
    ) -> None:
        self.path = path
        self.needed = needed
        self.soname = soname
        self.rpath = rpath
        self.runpath = runpath


def read_elf(path: str) -> Elf | None:
    """Read ``path``; None when it is no ELF file that we can read, or cannot be opened."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return _read(fd, path)
    except (struct.error, IndexError, KeyError, ValueError, OverflowError, OSError):
        return None
    finally:
        os.close(fd)


def _read(fd: int, path: str) -> Elf | None:
    head = os.pread(fd, 64, 0)
    if head[:4] != b"\x7fELF" or head[5] != 1:
        return None
    wide = head[4] == 2
    if wide:
        start, size, count = (
            struct.unpack_from("<Q", head, 32)[0],
            *struct.unpack_from("<HH", head, 54),
        )
    else:
        start, size, count = (
            struct.unpack_from("<I", head, 28)[0],
            *struct.unpack_from("<HH", head, 42),
        )
    table = _part(fd, size * count, start)
    loads: list[tuple[int, int, int]] = []
    dynamic = b""
    for at in range(0, len(table), size):
        if wide:
            kind, _, offset, address, _, length = struct.unpack_from("<IIQQQQ", table, at)
        else:
            kind, offset, address, _, length = struct.unpack_from("<IIIII", table, at)
        if kind == PT_LOAD:
            loads.append((address, offset, length))
        elif kind == PT_DYNAMIC:
            dynamic = _part(fd, length, offset)
    entries = list(struct.iter_unpack("<qQ" if wide else "<iI", dynamic))
    values = dict(entries)
    strings = b""
    for address, offset, length in loads:
        if address <= values.get(DT_STRTAB, -1) < address + length:
            strings = _part(fd, values[DT_STRSZ], offset + values[DT_STRTAB] - address)

    def text(at: int) -> str:
        return os.fsdecode(strings[at : strings.index(b"\0", at)]) if strings else ""

    def folders(tag: int) -> list[str]:
        if tag not in values:
            return []
        origin = os.path.dirname(os.path.realpath(path))
        joined = text(values[tag]).replace("$ORIGIN", origin).replace("${ORIGIN}", origin)
        return [folder for folder in joined.split(":") if folder]

    return Elf(
        path,
        needed=[text(value) for tag, value in entries if tag == DT_NEEDED],
        soname=text(values[DT_SONAME]) if DT_SONAME in values else "",
        rpath=folders(DT_RPATH),
        runpath=folders(DT_RUNPATH),
    )


def _part(fd: int, length: int, offset: int) -> bytes:
    if length > MAX_PART:
        raise ValueError(length)
    return os.pread(fd, length, offset)


class Libraries:
    """Finds libraries as the loader would for a process with ``environ``."""

    def __init__(self, library_path: str, *, cache: str = "/etc/ld.so.cache") -> None:
        self._library_path = [folder for folder in library_path.split(":") if folder]
        self._cache_file = cache
        self._cache: dict[str, str] | None = None

    def find(self, name: str, *, by: Elf | None = None, root: Elf | None = None) -> str | None:
        """Return the path that ``name`` is loaded from when ``by`` needs it (``root`` is the program)."""
        if "/" in name:
            return name if os.path.exists(name) else None
        folders: list[str] = []
        for elf in (by, root):
            if elf is not None and not elf.runpath:
                folders += elf.rpath
        folders += self._library_path
        if by is not None:
            folders += by.runpath
        for folder in folders:
            path = f"{folder}/{name}"
            if os.path.exists(path):
                return path
        cached = self._cached().get(name)
        if cached is not None:
            return cached
        for folder in DEFAULT_FOLDERS:
            path = f"{folder}/{name}"
            if os.path.exists(path):
                return path
        return None

    def _cached(self) -> dict[str, str]:
        if self._cache is None:
            try:
                with open(self._cache_file, "rb") as stream:
                    self._cache = _parse_cache(stream.read())
            except OSError:  # musl and macOS have none
                self._cache = {}
        return self._cache


def _parse_cache(data: bytes) -> dict[str, str]:
    """Read glibc's cache (``glibc-ld.so.cache1.1``; the old format may stand before it); first entry of a name wins."""
    base = data.find(b"glibc-ld.so.cache1.1")
    if base < 0:
        return {}
    (count,) = struct.unpack_from("<I", data, base + 20)
    result: dict[str, str] = {}
    for _, key, value, _, _ in struct.iter_unpack("<iIIIQ", data[base + 48 : base + 48 + 24 * count]):
        name = data[base + key : data.index(b"\0", base + key)]
        path = data[base + value : data.index(b"\0", base + value)]
        result.setdefault(os.fsdecode(name), os.fsdecode(path))
    return result

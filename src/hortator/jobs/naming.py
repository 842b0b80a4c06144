"""Names of jobs: made from the program, counted up, and fit for the objects that carry them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

__all__ = ["MAX_NAME", "check_name", "name_for", "next_name"]

#: Names of workers (``-worker-9999``) and of the launcher must be DNS labels of 63 characters.
MAX_NAME = 50
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_RUNNERS = re.compile(r"(python|pypy)[0-9.]*|sh|bash|dash|zsh|perl|ruby|Rscript|julia|env|nice|time|exec")


def check_name(name: str) -> str | None:
    """Return what is wrong with ``name`` as a job's, or None."""
    if len(name) > MAX_NAME:
        return f"{name!r} is longer than {MAX_NAME} characters"
    if not _LABEL.fullmatch(name):
        return (
            f"{name!r}: only lower-case letters, digits and '-', beginning with a letter, not ending with '-'"
        )
    return None


def name_for(command: Sequence[str]) -> str:
    """Return a job's base name: the program's or, behind an interpreter, the script's or module's, made DNS-safe."""
    words = list(command)
    name = ""
    while words:
        word = words.pop(0)
        base = word.rstrip("/").rpartition("/")[2]
        if name and word.startswith("-"):
            if word in ("-c", "-e"):
                break
            if word == "-m" and words:
                name = words[0].split(".")[0]
                break
            if word in ("-W", "-X") and words:
                words.pop(0)
            continue
        if name and "=" in word:
            continue
        name = base
        if not _RUNNERS.fullmatch(base):
            break
    stem = re.sub(r"\.(py|sh|pl|rb|R|jl|x|exe|out|bin)$", "", name)
    safe = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[: MAX_NAME - 6].strip("-")
    if not safe:
        return "job"
    return safe if safe[0].isalpha() else f"job-{safe}"


def next_name(base: str, existing: Collection[str]) -> str:
    """Return ``base`` with the number after the highest one in use: ``pi-1``, ``pi-2``."""
    numbers = [0]
    for name in existing:
        head, dash, tail = name.rpartition("-")
        if dash and head == base and tail.isdigit() and tail.isascii():
            numbers.append(int(tail))
    return f"{base}-{max(numbers) + 1}"

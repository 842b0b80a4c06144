"""A script of kubectl commands, and the transcript of what a server had to say to it.

A script is a list of steps, written much as in a shell::

    ("apply -f -", config("c")),          # what follows the comma is what the command reads
    "get configmap c -o yaml",            # has to succeed
    "! get configmap none",               # has to be refused
    "KUBE_EDITOR='sed -i s/red/blue/' edit configmap c",
    ("> folder/c.yaml", config("c")),     # writes a file into the script's own folder

Two servers' transcripts are equal where they behave alike: what no two runs share (ids, times, generated names,
addresses) is masked.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from support.kubectl import Kubectl

__all__ = ["WRONG", "Compare", "Script", "masked", "play"]

Object = dict[str, Any]
Given = Object | list[Object] | str
Step = str | tuple[str, Given]
Script = Sequence[Step]
Compare = Callable[..., list[str]]

#: How a line starts that tells of a step that went the other way than the script says.
WRONG = "WRONG"

#: What kubectl's own watches log when their time is over, or not.
CLIENTS_LOG = re.compile(r"I\d{4} [\d:.]+ +\d+ reflector\.go")

#: What is replaced, in this order: a pattern and what stands for it.
MASKS = [
    (r"-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----", "CERTIFICATE"),
    (r"/tmp/(LIVE|MERGED|kubectl-edit)-\d+", r"/tmp/\1-N"),
    (r"https://127\.0\.0\.1:\d+", "SERVER"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID"),
    (r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ \+0000", "TIME"),
    (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\w{3}, \d\d \w{3} 20\d\d \d\d:\d\d:\d\d [+\w]+", "TIME"),
    (r'(\\?"?resourceVersion\\?"?: ?\\?)"\d+', r'\1"VERSION'),
    (r"(Resource Version: +)\d+", r"\1VERSION"),
    (r"(?<=  )(\d+[smhd])+(?=\s|$)", "AGE"),
    (r"\b(\d+[smh])+ ago", "AGE ago"),
    (r"(?<=\w-)[bcdfghjklmnpqrstvwxz2456789]{8,10}(-[bcdfghjklmnpqrstvwxz2456789]{5})?\b", "HASH"),
    (r"(?<=\w-)[bcdfghjklmnpqrstvwxz2456789]{5}\b", "SUFFIX"),
    (r"\beyJ[\w-]+\.[\w-]+\.[\w-]+", "TOKEN"),
    # What is masked may be shorter or longer: columns keep their order, not their width.
    (r"(?<=\S)[ \t]{2,}", "   "),
    (r"(?m)[ \t]+$", ""),
]


def masked(text: str) -> str:
    """Return the text without what differs between any two runs."""
    for pattern, replacement in MASKS:
        text = re.sub(pattern, replacement, text)
    return text


def play(kubectl: Kubectl, folder: Path, script: Script) -> list[str]:
    """Run a script with files in ``folder`` and return its transcript, line by line.

    A step that is refused and should not be, or the other way round, has a line that starts with ``WRONG``.
    """
    lines: list[str] = []
    for step in script:
        line, given = step if isinstance(step, tuple) else (step, None)
        if line.startswith("> "):
            file = folder / line[2:]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_text(given, kubectl.namespace))
        else:
            lines += _run(kubectl, folder, line, given)
    return lines


def _run(kubectl: Kubectl, folder: Path, line: str, given: Given | None) -> list[str]:
    refused, line = line.startswith("! "), line.removeprefix("! ")
    words = shlex.split(line.replace("$NAMESPACE", kubectl.namespace))
    env = {}
    while re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    stdin = None if given is None else _text(given, kubectl.namespace)
    done = kubectl.with_env(**env).run(*words, stdin=stdin, cwd=folder)
    said = [text.decode().replace(str(folder), "FOLDER") for text in (done.stdout, done.stderr)]
    shown = [f"$ kubectl {line}", *masked(said[0]).splitlines()]
    shown += [f"stderr: {text}" for text in masked(said[1]).splitlines() if not CLIENTS_LOG.match(text)]
    if refused != bool(done.returncode):
        shown += [f"{WRONG}: it should {'be refused' if refused else 'succeed'}"]
    return [*shown, f"exit code {done.returncode}", ""]


def _text(given: Given | None, namespace: str) -> str:
    if isinstance(given, list):
        given = {"apiVersion": "v1", "kind": "List", "items": given}
    text = given if isinstance(given, str) else json.dumps(given)
    return text.replace("$NAMESPACE", namespace)

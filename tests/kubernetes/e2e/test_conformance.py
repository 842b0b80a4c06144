"""Kubernetes' own conformance specs of its API ([sig-api-machinery]), run against the local cluster."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.control_plane import NoTool, find_tool
from support.hort import Hort

LEFT_OUT = Path(__file__).with_name("left_out.yaml")
GROUP = r"\[sig-api-machinery\]"
_NAME = re.compile(r"^\[sig-api-machinery\] (.*?) \[Conformance\]", re.MULTILINE)
#: Nothing here waits for long; a spec that does is broken.
MINUTES = 12


class Suite:
    """The e2e binary, pointed at a cluster of its own."""

    def __init__(self, hort: Hort) -> None:
        self._hort = hort
        self._report = hort.home / "report"
        self._base = [
            str(find_tool("e2e.test")),
            f"-kubeconfig={hort.kubeconfig()}",
            f"-kubectl-path={find_tool('kubectl')}",
            "-provider=local",
            "-ginkgo.no-color",
            "-ginkgo.v",
        ]

    def names(self) -> list[str]:
        """Return the names of all specs, without the words in front and behind that all have."""
        focus = rf"-ginkgo.focus={GROUP}.*\[Conformance\]"
        return sorted(_NAME.findall(self._run(focus, "-ginkgo.dry-run").stdout))

    def run(self, names: list[str]) -> dict[str, str]:
        """Run the specs; return how each ended: ``passed``, or what was wrong."""
        escaped = "|".join(re.escape(name).replace("/", "\\/") for name in names)
        self._run(
            rf"-ginkgo.focus={GROUP} ({escaped}) \[Conformance\]",
            f"-report-dir={self._report}",
            f"-ginkgo.timeout={MINUTES}m",
        )
        found = {}
        for case in ET.parse(self._report / "junit_01.xml").iter("testcase"):
            name = (case.get("name") or "").removeprefix("[It] [sig-api-machinery] ")
            if case.find("skipped") is not None or not case.get("name", "").startswith("[It]"):
                continue
            problem = case.find("failure") if case.find("failure") is not None else case.find("error")
            text = "passed" if problem is None else (problem.get("message") or problem.text or "failed")
            found[name.split(" [Conformance]")[0]] = text
        return found

    def _run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._base, *flags],
            capture_output=True,
            text=True,
            timeout=60 * (MINUTES + 1),
            check=False,
            cwd=self._hort.home,
            env=self._hort.environ,
        )


@pytest.fixture
def suite(tmp_path: Path) -> Iterator[Suite]:
    hort = Hort(tmp_path)
    hort("up", "-d", "--cpus", "4")
    try:
        yield Suite(hort)
    except NoTool as error:
        pytest.fail(str(error))
    finally:
        hort("down")


@pytest.mark.timeout(60 * (MINUTES + 3))
def test_every_spec_that_is_not_left_out_passes(suite: Suite) -> None:
    names = suite.names()
    left_out = [name for specs in yaml.safe_load(LEFT_OUT.read_text()).values() for name in specs]
    assert sorted(set(left_out) - set(names)) == [], "entries that name no spec"
    assert len(left_out) == len(set(left_out)), "a spec is named twice"
    wanted = [name for name in names if name not in left_out]
    ended = suite.run(wanted)
    assert {name: text for name, text in ended.items() if text != "passed"} == {}
    assert sorted(ended) == wanted

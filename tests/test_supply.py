"""What Potok is made of: no version with a known hole, every licence known, and all of it listed."""

import json
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.server import ROOT, free_port
from tests.test_project import LOCKS, applies, canonical, pins
from tools import sbom

# The first versions without a hole that matters here.
FLOORS = {"daphne": "4.2.2", "django": "5.2.15"}
# What may be installed beside a product of any licence.
ALLOWED = set(
    "0BSD Apache-2.0 BSD-2-Clause BSD-3-Clause ISC LGPL-3.0-only MIT MIT-0 MIT-CMU MPL-2.0 PSF-2.0"
    " TCL ZPL-2.1".split()
)


@pytest.mark.parametrize("name", FLOORS)
def test_no_version_below_the_floor_is_wanted_locked_or_here(name):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (wanted,) = [
        each for each in map(Requirement, project["dependencies"]) if canonical(each.name) == name
    ]
    floor = Version(FLOORS[name])
    assert [str(each) for each in wanted.specifier if each.operator == ">="] == [f">={floor}"]
    assert not wanted.specifier.contains(f"{floor.major}.{floor.minor}.{floor.micro - 1}")
    for lock in LOCKS:
        (pin,) = [each for each in pins(lock) if canonical(each.name) == name]
        assert Version(str(pin.specifier).removeprefix("==")) >= floor
    assert Version(version(name)) >= floor


def test_what_is_installed_is_what_is_locked():
    locked = {
        canonical(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins("requirements.txt")
        if applies(pin)
    }
    assert locked
    assert {name: version(name) for name in locked} == locked


def test_every_licence_is_known_and_allowed():
    said = {each.name: each.licence for each in [*sbom.packages(), *sbom.vendored()]}
    parts = {
        name: set(licence.replace(" AND ", " OR ").split(" OR ")) for name, licence in said.items()
    }
    assert {name: said[name] for name, found in parts.items() if not found <= ALLOWED} == {}


def test_the_list_of_licences_is_that_of_the_lock():
    assert (ROOT / "docs" / "licences.md").read_text() == sbom.table(), "run make sbom"


def test_the_bill_of_materials_has_every_pin_with_its_hashes_and_is_always_the_same():
    made = sbom.bom()
    assert (made["bomFormat"], made["specVersion"]) == ("CycloneDX", "1.6")
    assert made == json.loads(json.dumps(sbom.bom()))
    components = {each["bom-ref"]: each for each in made["components"]}
    assert len(components) == len(made["components"])
    for pin in pins("requirements.txt"):
        version_ = str(pin.specifier).removeprefix("==")
        references = components[f"pkg:pypi/{pin.name}@{version_}"]["externalReferences"]
        assert all(len(each["hashes"][0]["content"]) == 64 for each in references)
    assert "pkg:npm/htmx.org@2.0.11" in components
    assert set(components) == set(made["dependencies"][0]["dependsOn"])


def test_the_vendored_files_are_of_the_version_that_is_listed():
    (htmx,) = [each for each in sbom.vendored() if each.name == "htmx"]
    names = {path.name for path in (ROOT / "static" / "vendor").glob("htmx*.js")}
    assert names == {f"htmx-{htmx.version}.js", f"htmx-{htmx.version}.min.js"}
    assert len(htmx.sha256) == len(names)


# --- make audit -----------------------------------------------------------------------------------


@contextmanager
def database_of(holes: dict[str, list[list[str]]], status: int = 200) -> Iterator[str]:
    """A vulnerability database that knows these, by package URL, in pages; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            results = [result(each) for each in json.loads(self.rfile.read(length))["queries"]]
            body = json.dumps({"results": results}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    def result(query: dict) -> dict:
        purl = query["package"]["purl"]
        pages = next((found for name, found in holes.items() if purl.startswith(name)), [])
        page = int(query.get("page_token", 0))
        if page >= len(pages):
            return {}
        more = {"next_page_token": str(page + 1)} if page + 1 < len(pages) else {}
        return {"vulns": [{"id": each} for each in pages[page]], **more}

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def audit(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tools.audit", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_audit_names_every_hole_that_is_known_and_none_that_was_judged():
    holes = {"pkg:pypi/django@": [["GHSA-1"], ["GHSA-2"]], "pkg:npm/htmx.org@": [["GHSA-3"]]}
    with database_of(holes) as address:
        done = audit("--service", address)
        assert done.returncode == 1
        assert [line.partition("@")[0] for line in done.stdout.splitlines()] == [
            "pkg:pypi/django",
            "pkg:pypi/django",
            "pkg:npm/htmx.org",
        ]
        ignored = [word for each in (1, 2, 3) for word in ("--ignore", f"GHSA-{each}")]
        assert audit("--service", address, *ignored).returncode == 0


def test_an_audit_without_an_answer_is_no_good_news():
    with database_of({}) as address:
        assert audit("--service", address).returncode == 0
    with database_of({}, status=500) as address:
        assert audit("--service", address).returncode == 2
    assert audit("--service", f"http://127.0.0.1:{free_port()}").returncode == 2

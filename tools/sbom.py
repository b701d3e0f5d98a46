"""`make sbom`: what Potok is made of, as CycloneDX (build/sbom.json) and as docs/licences.md.

From the lock with its hashes, from what the installed packages say of their licences, and from
static/vendor. The same input makes the same bytes.
"""

import json
import re
import sys
import tomllib
import uuid
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
LICENCES = ROOT / "docs" / "licences.md"
BOM = ROOT / "build" / "sbom.json"
# What packages call their licence, as SPDX has it.
SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# Those that don't say, say it in full, or are not for this system.
STATED = {
    "async-timeout": "Apache-2.0",
    "automat": "MIT",
    "httpx-aiohttp": "BSD-3-Clause",
    "tzdata": "Apache-2.0",
    "u-msgpack-python": "MIT",
    "uvloop": "MIT OR Apache-2.0",
}
# What is served from static/: (name, version, licence, npm's name or '').
VENDORED = [("htmx", "2.0.11", "0BSD", "htmx.org"), ("lucide", "", "ISC", "")]


@dataclass(frozen=True)
class Component:
    name: str
    version: str
    licence: str
    purl: str
    marker: str = ""
    sha256: list[str] = field(default_factory=list)


def packages(lock: Path = ROOT / "requirements.txt") -> list[Component]:
    """Every pin of the lock; one that several systems pin differently comes several times."""
    found = []
    for line in lock.read_text().replace("\\\n", "").splitlines():
        if not line or line.lstrip().startswith("#"):
            continue
        pin = Requirement(line.partition(" --hash")[0])
        version = str(pin.specifier).removeprefix("==")
        found.append(
            Component(
                name=pin.name,
                version=version,
                licence=licence_of(pin.name),
                purl=f"pkg:pypi/{pin.name}@{version}",
                marker=str(pin.marker or ""),
                sha256=sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", line)),
            )
        )
    return found


def vendored() -> list[Component]:
    sums = (ROOT / "static" / "vendor" / "SHA256SUMS").read_text().splitlines()
    listed = [line.split() for line in sums if line and not line.startswith("#")]
    return [
        Component(
            name=name,
            version=version,
            licence=licence,
            purl=f"pkg:npm/{npm}@{version}" if npm else f"pkg:generic/{name}",
            sha256=sorted(digest for digest, file in listed if file.lstrip("*").startswith(name)),
        )
        for name, version, licence, npm in VENDORED
    ]


def licence_of(name: str) -> str:
    """An SPDX expression; LookupError where the package doesn't tell and STATED doesn't either."""
    if name in STATED:
        return STATED[name]
    try:
        told = metadata(name)
    except PackageNotFoundError:
        raise LookupError(
            f"{name} is not installed here: state its licence in {__file__}"
        ) from None
    if expression := told.get("License-Expression"):
        return str(expression)
    classifiers = told.get_all("Classifier") or []
    said = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License ::")]
    short = (told.get("License") or "").strip()
    for words in (short, *said):
        if words in SPDX or re.fullmatch(r"[A-Za-z]+(-[A-Za-z0-9.]+)+|MIT", words):
            return SPDX.get(words, words)
    raise LookupError(f"{name} doesn't say its licence: state it in {__file__}")


def bom() -> dict[str, object]:
    """CycloneDX 1.6, without a time, so that it changes with its content only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    root = {"type": "application", "name": project["name"], "version": project["version"]}
    components = [_as_cyclonedx(each) for each in [*packages(), *vendored()]]
    name = json.dumps([root, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}",
        "version": 1,
        "metadata": {"component": {**root, "bom-ref": "potok"}},
        "components": components,
        "dependencies": [{"ref": "potok", "dependsOn": [each["bom-ref"] for each in components]}],
    }


def _as_cyclonedx(component: Component) -> dict[str, object]:
    said: dict[str, object] = {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "purl": component.purl,
        "licenses": [{"expression": component.licence}],
    }
    if component.version:
        said["version"] = component.version
    if component.sha256:
        # Of each file that the lock permits: a package has one for each system.
        hashes = [{"alg": "SHA-256", "content": digest} for digest in component.sha256]
        said["externalReferences"] = [
            {"type": "distribution", "url": component.purl, "hashes": [each]} for each in hashes
        ]
    if component.marker:
        said["properties"] = [{"name": "potok:only-where", "value": component.marker}]
    return said


def table() -> str:
    """docs/licences.md."""
    rows = [
        f"| {each.name} | {each.version or '-'} | {each.licence} |"
        for each in [*packages(), *vendored()]
    ]
    return "\n".join(
        [
            "# Licences",
            "",
            "What is installed with Potok or served by it, and under which licence. Made by `make sbom`,"
            " which also writes build/sbom.json (CycloneDX 1.6, with the hashes of the lock).",
            "",
            "| Name | Version | Licence |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    BOM.parent.mkdir(exist_ok=True)
    BOM.write_text(json.dumps(bom(), indent=1) + "\n")
    LICENCES.write_text(table())
    sys.stdout.write(f"{BOM.relative_to(ROOT)} and {LICENCES.relative_to(ROOT)} are written.\n")


if __name__ == "__main__":
    main()

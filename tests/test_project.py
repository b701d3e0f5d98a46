"""What the repository promises about itself: locks, vendored files, commands that are named."""

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands
from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.server import ROOT
from tests.test_architecture import PURE, imports, modules

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = {
    "requirements.txt": PROJECT["project"]["dependencies"],
    "requirements-dev.txt": PROJECT["project"]["dependencies"]
    + PROJECT["dependency-groups"]["dev"],
}
VENDOR = ROOT / "static" / "vendor"


def tracked() -> list[Path]:
    """The files under version control."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def pins(lock: str) -> list[Requirement]:
    """The pinned requirements, markers kept, hashes off."""
    lines = (ROOT / lock).read_text().replace("\\\n", "").splitlines()
    stated = (line for line in lines if line and not line.lstrip().startswith("#"))
    return [Requirement(line.partition(" --hash")[0]) for line in stated]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def version(pin: Requirement) -> str:
    return str(pin.specifier).removeprefix("==")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_dependency_at_a_version_that_fits(lock):
    pinned = {canonical(pin.name): version(pin) for pin in pins(lock) if applies(pin)}
    wanted = [Requirement(line) for line in LOCKS[lock]]
    misfits = [
        str(want)
        for want in wanted
        if applies(want) and not want.specifier.contains(pinned.get(canonical(want.name), "0"))
    ]
    assert misfits == [], "run make lock"


def applies(requirement: Requirement) -> bool:
    environment = {key: str(value) for key, value in default_environment().items()}
    return not requirement.marker or requirement.marker.evaluate(environment)


def test_what_is_imported_is_a_dependency_by_name():
    """Not one that happens to come along with another, and would go with it."""
    named = {canonical(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    found = {name.split(".")[0] for module in modules() for name in imports(module)}
    foreign = found - sys.stdlib_module_names - {"chat"}
    providers = packages_distributions()
    assert foreign
    assert [
        name
        for name in foreign
        if not named.intersection(canonical(provider) for provider in providers.get(name, []))
    ] == []


def test_tests_run_with_the_versions_that_people_run():
    assert {str(pin) for pin in pins("requirements.txt")} <= {
        str(pin) for pin in pins("requirements-dev.txt")
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_hashes_and_no_address(lock):
    text = (ROOT / lock).read_text()
    assert re.findall(r"^.*(?:://|file:|--index|--extra|--find| @ ).*$", text, re.MULTILINE) == []
    for block in re.split(r"\n(?=[a-z])", text.strip()):
        assert "==" in block
        assert "--hash=sha256:" in block


def test_no_file_names_a_path_of_the_machine_it_was_made_on():
    here = [f"{path}{os.sep}".encode() for path in (ROOT, Path.home()) if len(str(path)) > 1]
    sources = [path for path in tracked() if path.suffix not in (".md", ".png")]
    named = {path.name for path in sources for place in here if place in path.read_bytes()}
    assert named == set()


def test_every_make_command_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (path.name, command)
        for path in tracked()
        if path.suffix == ".md"
        for command in re.findall(r"(?:`|^\s*\$? ?)make ([a-z-]+)", path.read_text("utf-8"), re.M)
    }
    assert [each for each in named if each[1] not in targets] == []


def test_every_process_of_the_procfile_is_a_command():
    for line in (ROOT / "Procfile").read_text().splitlines():
        found = re.fullmatch(r"[a-z]+: python manage\.py ([a-z]+)", line)
        assert found, line
        assert found[1] in get_commands()


def test_a_vendored_file_is_the_one_that_was_published():
    """Its hash stands in SHA256SUMS, and nothing lies there that hasn't one."""
    lines = (VENDOR / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split(maxsplit=1)) for line in lines if line and line[0] != "#")
    files = {path.name: path for path in VENDOR.iterdir() if path.suffix in (".js", ".css")}
    assert files
    assert {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    } == {name.lstrip("*"): digest for name, digest in listed.items() if name.lstrip("*") in files}


def test_mypy_reads_every_pure_module():
    roots = {module.replace(".", "/") + ".py" for module in PURE}
    assert roots <= set(PROJECT["tool"]["mypy"]["files"])


def test_each_test_that_the_threat_model_names_is_there():
    named = re.findall(r"`(test_\w+)\.(test_\w+)`", (ROOT / "docs/threat-model.md").read_text())
    assert len(named) > 50
    lacking = [
        f"{module}.{name}"
        for module, name in named
        if f"def {name}(" not in (ROOT / "tests" / f"{module}.py").read_text("utf-8")
    ]
    assert lacking == []


def test_the_settings_know_the_version():
    assert PROJECT["project"]["version"] == settings.VERSION


def test_ci_runs_what_people_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()

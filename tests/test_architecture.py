"""Who may import whom: the rooms of docs/architecture.md, held by reading every import."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.server import ROOT

# Each room, and the other rooms whose modules it may import. Pure modules are open to all.
ROOMS = {
    "upstream": set(),
    "models": {"addresses", "sessions"},
    "replies": {"amounts", "logs", "upstream", "models"},
    "rendering": {"amounts", "models"},
    "templatetags": {"addresses", "amounts", "rendering"},
    "page": {"entrance", "security", "rendering", "replies", "models", "sessions", "upstream"},
    "admin": {"entrance", "security", "rendering", "replies", "models", "upstream"},
    "demo": set(),
    "backup": {"scrubbing", "replies", "models"},
    "doctor": {"installation", "proxies", "rendering", "replies", "models", "upstream"},
    "migrations": {"models"},
    "management": {
        "allocator",
        "backup",
        "catalogues",
        "doctor",
        "installation",
        "scrubbing",
        "security",
        "server",
        "asgi",
        "rendering",
        "replies",
        "models",
        "upstream",
    },
    # single modules at the top
    "addresses": set(),
    "allocator": set(),
    "amounts": set(),
    "apps": {"models", "security"},
    "asgi": {"doctor", "page", "admin", "demo", "handler", "replies", "models", "statics"},
    "catalogues": set(),
    "entrance": {"models"},
    "connections": {"proxies"},
    "handler": {"replies"},
    "installation": set(),
    "joining": set(),
    "logs": {"scrubbing"},
    "proxies": set(),
    "scrubbing": set(),
    "security": {"logs", "models"},
    "server": {"connections", "replies"},
    "sessions": set(),
    "settings": set(),
    "statics": set(),
    "urls": {"page", "admin", "demo"},
}
# Without Django and without I/O, and so is whatever of ours they import.
PURE = [
    "chat.upstream.sse",
    "chat.upstream.dialect",
    "chat.upstream.errors",
    "chat.rendering.clean",
    "chat.rendering.hidden",
    "chat.rendering.markdown",
    "chat.rendering.words",
    "chat.replies.prompt",
]
IMPURE = set(
    "aiohttp asgiref asyncio channels csp daphne django environ http httpcore httpx httpx_aiohttp"
    " importlib io logging multiprocessing os pathlib psycopg redis requests select shutil signal"
    " socket sqlite3 ssl subprocess sys tempfile threading twisted urllib.request uvloop".split()
)


def modules() -> Iterator[str]:
    for path in sorted((ROOT / "chat").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.exists()), None)


@cache
def imports(module: str) -> frozenset[str]:
    """Every module that this one names in an import, wherever in it; relative ones resolved."""
    path = path_of(module)
    assert path, f"there is no {module}"
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return frozenset(imports_of(path.read_text("utf-8"), package))


def imports_of(source: str, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")
            above = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            # `from chat.rendering import clean` names a module or something inside one.
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if base.startswith("chat") and path_of(inner) else base


def ours(module: str) -> list[str]:
    return sorted(name for name in imports(module) if name.partition(".")[0] == "chat")


@cache
def pure() -> frozenset[str]:
    """The pure modules and all of ours that they import."""
    found: set[str] = set()
    left = [module for module in PURE if path_of(module)]
    while left:
        module = left.pop()
        found.add(module)
        left += [name for name in ours(module) if name not in found]
    return frozenset(found)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", list(modules()))
def test_a_module_imports_only_from_the_rooms_open_to_its_own(module):
    if not room(module):
        return
    allowed = ROOMS[room(module)] | {room(module)}
    assert [m for m in ours(module) if room(m) not in allowed and m not in pure()] == []


@pytest.mark.parametrize("module", sorted(pure()))
def test_a_pure_module_imports_neither_django_nor_io(module):
    roots = {name for name in imports(module) if name in IMPURE or name.split(".")[0] in IMPURE}
    assert roots == set()
    tree = ast.parse((path_of(module) or Path()).read_text("utf-8"))
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and is_name(n.func)]
    assert not {"open", "print", "input", "__import__"}.intersection(calls)


def is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name)


def test_the_pure_modules_are_all_there():
    assert [module for module in PURE if not path_of(module)] == []


@pytest.mark.parametrize("module", [m for m in modules() if m != "chat.settings"])
def test_only_the_settings_read_the_environment(module):
    tree = ast.parse((path_of(module) or Path()).read_text("utf-8"))
    reads = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    }
    # asgi.py is a door like manage.py: it says which settings to read.
    assert reads <= ({"environ"} if module == "chat.asgi" else set())
    assert "environ" not in imports(module)


@pytest.mark.parametrize(
    ("source", "package", "found"),
    [
        ("import os.path", "chat.page", {"os.path"}),
        ("from ..replies import log", "chat.page", {"chat.replies.log"}),
        ("from . import live", "chat.page", {"chat.page.live"}),
        ("from .live import Op", "chat.page", {"chat.page.live"}),
        ("from chat.models import User", "chat.page", {"chat.models"}),
        ("def f():\n    from chat.admin import site", "chat.page", {"chat.admin.site"}),
        ("from .log import Cursor", "chat.replies", {"chat.replies.log"}),
    ],
)
def test_an_import_is_read_as_python_reads_it(source, package, found):
    """So that the tests above can't pass by overlooking one."""
    assert set(imports_of(source, package)) == found

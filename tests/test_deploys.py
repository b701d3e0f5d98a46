"""A new version comes, and meets pages of the version before that are still open."""

import os
import re
import shutil
import time

import pytest
from playwright.sync_api import expect

from tests.server import ROOT, Server

REPLY = "[data-role=assistant]"
DAY_S = 24 * 3600


@pytest.fixture
def before(tmp_path):
    """The version before this one: its pages speak another protocol and have files of their own."""
    root = tmp_path / "before"
    ignored = shutil.ignore_patterns("__pycache__", "*.mo")
    for name in ("chat", "templates", "static"):
        shutil.copytree(ROOT / name, root / name, ignore=ignored)
    shutil.copy(ROOT / "manage.py", root)
    consumers = root / "chat/page/consumers.py"
    source = consumers.read_text()
    older = re.sub(r"^PROTOCOL = \d+$", "PROTOCOL = 0", source, count=1, flags=re.M)
    assert older != source
    consumers.write_text(older)
    for name in ("js/socket.js", "css/base.css"):
        with (root / "static" / name).open("a") as file:
            file.write("/* as it was before */\n")
    return root


@pytest.fixture
def server(start_server, before):
    return start_server(root=before)


@pytest.fixture
def owner(server):
    return server.visitor().set_up()


def deploy(server: Server) -> None:
    """The version before ends, and this one begins where it was."""
    server.terminate()
    server.root = ROOT
    server.start()


def test_an_old_page_is_told_to_reload_and_its_draft_survives(server, owner, page, complaints):
    conversation = owner.send("Say hello")
    owner.wait_for_reply(conversation, "complete")
    page.goto(f"/c/{conversation}/")
    page.locator("body[data-connection=live][data-protocol='0']").wait_for()
    page.locator("#composer [name=text]").fill("half a thought")
    expect(page.locator(".when-outdated")).to_be_hidden()
    # The socket, and the forecast of what the draft would cost, while the server is away.
    complaints[0].allow("WebSocket connection to .* failed|ERR_CONNECTION_REFUSED|^htmx:")
    deploy(server)
    expect(page.locator(".when-outdated")).to_be_visible(timeout=20_000)
    # Whatever happens now would be told in a protocol that this page doesn't know.
    shown = page.locator("#messages").evaluate("e => e.outerHTML")
    owner.send("Once more", conversation)
    owner.wait_for_reply(conversation, "complete")
    assert page.locator("#messages").evaluate("e => e.outerHTML") == shown
    page.locator(".when-outdated a").click()
    page.locator("body[data-connection=live]:not([data-protocol='0'])").wait_for()
    expect(page.locator("#composer [name=text]")).to_have_value("half a thought")
    expect(page.locator(REPLY)).to_have_count(2)
    expect(page.locator(".when-outdated")).to_be_hidden()


def test_a_form_of_an_old_page_still_sends(server, owner, page, complaints):
    conversation = owner.send("Say hello")
    owner.wait_for_reply(conversation, "complete")
    page.goto(f"/c/{conversation}/")
    page.locator("body[data-connection=live]").wait_for()
    complaints[0].allow("WebSocket connection to .* failed|ERR_CONNECTION_REFUSED")
    deploy(server)
    expect(page.locator(".when-outdated")).to_be_visible(timeout=20_000)
    page.locator("#composer [name=text]").fill("From an old page")
    page.locator("#composer [name=send]").click()
    expect(page.get_by_text("From an old page")).to_be_visible()
    reply = owner.wait_for_reply(conversation, "complete")
    assert len(owner.export(conversation)["messages"]) == 4
    page.locator(".when-outdated a").click()
    expect(page.locator(REPLY).last).to_contain_text(reply["text"])


def static_files(owner) -> set[str]:
    return set(re.findall(r'"(/static/[^"]+\.(?:js|css))"', owner.get("/").text))


def test_files_of_old_pages_stay_for_a_month(server, owner):
    old = static_files(owner)
    long_gone, fresh = (
        server.data_dir / "static/css" / f"{name}.0123456789ab.css" for name in "ab"
    )
    for path, days in ((long_gone, 31), (fresh, 29)):
        path.write_text("")
        os.utime(path, (time.time() - days * DAY_S,) * 2)
    # As old as the installation is: their month begins when they are replaced.
    for url in old:
        path = server.data_dir / url.lstrip("/")
        os.utime(path, (time.time() - 365 * DAY_S,) * 2)
    deploy(server)
    new = static_files(owner)
    assert len(old - new) == 2
    assert [owner.get(url).status_code for url in sorted(old | new)] == [200] * len(old | new)
    assert fresh.exists()
    assert not long_gone.exists()


def test_a_process_serves_what_the_next_version_has_collected_beside_it(server, owner):
    (server.data_dir / "static/css/next.0123456789ab.css").write_text("b {}")
    assert owner.get("/static/css/next.0123456789ab.css").text == "b {}"
    for wrong in ("/static/css/", "/static/css", "/static/../secret_key", "/static//etc/passwd"):
        assert owner.get(wrong).status_code == 404

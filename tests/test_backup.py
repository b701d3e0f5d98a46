"""`manage.py backup` and `restore`: taken while replies stream, put back as one moment of it all."""

import gzip
import io
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.core.management.base import CommandError
from django.utils import timezone

from chat.backup.archive import Broken, unpack
from chat.backup.contents import DRAFT, drop_leftovers, judge
from tests.conftest import env_for
from tests.script import chunk
from tests.server import ROOT, Server

# No two places of it look alike, so a word lost or doubled shows.
SENT = "".join(f"word-{number} " for number in range(20_000))
TALK = tuple(chunk({"content": SENT[at : at + 40]}) for at in range(0, 4000, 40))
KEY = "sk-a-key-that-was-entered-7f3a"


def run(server: Server, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=server.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def elsewhere(tmp_path, shared_server, shared_gateway) -> Callable[..., Server]:
    """A place where nothing is yet, and nothing runs."""

    def make(name: str = "elsewhere", **env: str) -> Server:
        server = Server(tmp_path / name / "var", env_for(shared_gateway) | env)
        shutil.copytree(shared_server.data_dir / "static", server.data_dir / "static")
        made.append(server)
        return server

    made: list[Server] = []
    yield make
    for server in made:
        server.close()


def parts(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def pack(archive: Path, content: dict[str, bytes]) -> None:
    with tarfile.open(archive, "w:gz") as tar:
        for name, body in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))


@pytest.mark.one_form
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_backup_while_replies_stream_restores_to_one_moment(
    start_server, elsewhere, gateway, tmp_path, database, request
):
    def own_database() -> dict[str, str]:
        if database == "sqlite":
            return {}
        return {"DATABASE_URL": request.getfixturevalue("postgresql").create_database()}

    server = start_server(**own_database())
    owner = server.visitor().set_up()
    gateway.reply("All of it.")
    whole = owner.send("One")
    before = owner.wait_for_reply(whole, "complete")
    gates = [gateway.gate() for _ in range(3)]
    for gate in gates:
        # Slow enough to run while the backup is made, and held before the end.
        steps = [step for piece in TALK for step in (piece, 0.02)]
        gateway.reply(*steps, gate)
    running = [owner.send(f"Talk {number}") for number in range(3)]
    for conversation in running:
        owner.wait_for_text(conversation, "word-5 ")
    (server.data_dir / "uploads" / "deep").mkdir(parents=True)
    (server.data_dir / "uploads" / "deep" / "file").write_bytes(b"\x00of a reader's")
    seal = (
        f"from chat.models import *; g = Gateway(slug='own', name='O'); g.key = {KEY!r}; g.save()"
    )
    server.manage("shell", "-v0", "-c", seal)

    server.manage("backup", str(tmp_path))

    (archive,) = tmp_path.glob("potok-*.tar.gz")
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert owner.last(running[0])["status"] == "streaming", "they ran all the while"
    for gate in gates:
        gate.open()
    server.close()
    other = elsewhere(**own_database())
    status, said = run(other, "restore", str(archive))
    assert status == 0, said
    assert "3 replies that ran at that time are marked interrupted" in said
    assert "can't be opened" not in said
    assert (other.data_dir / "uploads" / "deep" / "file").read_bytes() == b"\x00of a reader's"
    assert not list(other.data_dir.glob(".restore-*"))
    other.start()
    again = other.visitor().log_in()
    assert again.last(whole) == before
    for conversation in running:
        reply = again.last(conversation)
        assert (reply["status"], reply["error"]["kind"]) == ("interrupted", "restart")
        assert SENT.startswith(reply["text"])
        assert reply["text"]
        assert reply["usage"]["confidence"] == "estimated"
    code = "from chat.models import *; print(Gateway.objects.get(slug='own').key)"
    assert other.manage("shell", "-v0", "-c", code).strip() == KEY
    # What was logged in then is not now: the session's row is in no backup.
    assert owner.http.cookies["sessionid"]
    theirs = other.visitor()
    theirs.http.cookies = owner.http.cookies
    assert theirs.get("/").status_code == 302


@pytest.mark.one_form
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_restore_erases_again_whoever_was_erased_since(elsewhere, tmp_path, database, request):
    def own_database() -> dict[str, str]:
        if database == "sqlite":
            return {}
        return {"DATABASE_URL": request.getfixturevalue("postgresql").create_database()}

    place, archive = elsewhere("first", **own_database()), tmp_path / "b.tar.gz"
    place.manage("migrate", "-v0")
    make = "User.create_owner('owner', 'a-long-password-1'); [User.objects.create_user(n) for n in"
    make += " ('xanthippe', 'held', 'bob')]; Hold.place('A dispute', None, person="
    make += "User.objects.get(username='held'))"
    shell(place, f"from chat.models import Hold; {make}")
    place.manage("backup", str(archive))
    shell(place, "from chat.models import Hold; Hold.objects.get().lift(None)")
    for name in ("xanthippe", "held"):
        place.manage("erase_person", name, "--yes")

    status, said = run(place, "restore", str(archive), "--replace")

    assert status == 0, said
    assert said.count("Erased again") == 1
    assert "there again: held." in said
    assert names(place) == ["bob", "held", "owner"]
    receipts = "[*Erasure.objects.values_list('backups', flat=True)]"
    assert str(archive) in shell(place, f"from chat.models import Erasure; print({receipts})")
    if database == "sqlite":
        assert b"xanthippe" not in place.stored()
    # The list outlives the database, and goes where its file is put.
    other = elsewhere("second", **own_database())
    said = run(other, "restore", str(archive))[1]
    assert "this place knows of nobody" in said
    assert "xanthippe" in names(other)
    shutil.copy(place.data_dir / "erased", other.data_dir)
    said = run(other, "restore", str(archive), "--replace")[1]
    assert "knows of nobody" not in said
    assert "xanthippe" not in names(other)


def shell(place: Server, code: str) -> str:
    return place.manage("shell", "-v0", "-c", f"from chat.models import User; {code}")


def names(place: Server) -> list[str]:
    found = "User.objects.order_by('username').values_list('username', flat=True)"
    return shell(place, f"print(*{found})").split()


@pytest.mark.one_form
def test_nothing_is_restored_under_a_running_server_or_over_another_installation(
    fresh_server, tmp_path
):
    owner = fresh_server.visitor().set_up()
    conversation = owner.send("Hello")
    owner.wait_for_reply(conversation, "complete")
    archive = tmp_path / "backup.tar.gz"
    fresh_server.manage("backup", str(archive))
    later = owner.send("After the backup")
    owner.wait_for_reply(later, "complete")
    status, said = run(fresh_server, "restore", str(archive), "--replace")
    assert status == 1
    assert "Another Potok already runs" in said
    fresh_server.terminate()
    status, said = run(fresh_server, "restore", str(archive))
    assert status == 1
    assert "--replace" in said
    status, said = run(fresh_server, "restore", str(archive), "--replace")
    assert status == 0, said
    fresh_server.start()
    again = fresh_server.visitor().log_in()
    assert again.last(conversation)["status"] == "complete"
    assert again.get(f"/c/{later}/").status_code == 404


def test_a_scaled_potok_that_runs_is_not_restored_over(
    start_server, tmp_path, postgresql, redis_server
):
    scaled = {
        "DATABASE_URL": postgresql.create_database(),
        "REDIS_URL": redis_server.url,
        "SECRET_KEY": "one for all of them and long enough to be one, I think",
        "POTOK_SECRETS_KEY": "another one for all of them and long enough too",
    }
    first = Server(tmp_path / "first", scaled)
    first.manage("migrate", "-v0")
    server = start_server(**scaled)
    server.visitor().set_up()
    archive = tmp_path / "backup.tar.gz"
    said = server.manage("backup", str(archive))
    assert "secrets come from the environment" in said
    assert [name for name in parts(archive) if name.startswith("keys/")] == []
    # From another machine, where no lock tells that something runs.
    status, said = run(first, "restore", str(archive), "--replace")
    assert status == 1, said
    assert "Stop" in said
    server.terminate()
    status, said = run(first, "restore", str(archive), "--replace")
    assert status == 0, said


# --- what a backup is -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(tmp_path_factory, shared_gateway) -> Server:
    """An installation with a user, which doesn't run."""
    server = Server(tmp_path_factory.mktemp("kept") / "var", env_for(shared_gateway))
    server.manage("migrate", "-v0")
    code = "from chat.models import *; User.create_owner('owner', '')"
    server.manage("shell", "-v0", "-c", code)
    return server


@pytest.fixture(scope="module")
def archive(kept, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("archive") / "backup.tar.gz"
    kept.manage("backup", str(target))
    return target


def test_a_manifest_says_what_is_in_it(archive):
    content = parts(archive)
    manifest = json.loads(content.pop("manifest.json"))
    assert next(iter(parts(archive))) == "manifest.json"
    assert (
        set(content)
        == set(manifest["files"])
        == {"database.sqlite3", "keys/secret_key", "keys/gateway_keys"}
    )
    with closing(sqlite3.connect(":memory:")) as packed:
        packed.deserialize(content["database.sqlite3"])
        (users,) = packed.execute("SELECT count(*) FROM chat_user").fetchone()
    assert manifest["counts"]["chat_user"] == users > 0
    assert manifest["database"] == "sqlite"
    assert ["chat", "0001_initial"] in manifest["migrations"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", manifest["potok"])
    assert abs(timezone.now() - timezone.datetime.fromisoformat(manifest["made_at"])).days == 0


def test_without_keys_it_says_what_is_to_be_kept_apart_and_restore_says_what_lacks(
    kept, elsewhere, tmp_path
):
    seal = (
        f"from chat.models import *; g = Gateway(slug='own', name='O'); g.key = {KEY!r}; g.save()"
    )
    seal += (
        "; p = IdentityProvider(slug='office', issuer='https://id.example', client_id='potok')"
        "; p.secret = 'shared'; p.save()"
        "; SecondFactor.begin(User.objects.create_user('stepper'))"
    )
    kept.manage("shell", "-v0", "-c", seal)
    archive = tmp_path / "apart.tar.gz"
    said = kept.manage("backup", str(archive), "--without-key")
    assert "keep it apart" in said
    assert [name for name in parts(archive) if name.startswith("keys/")] == []
    assert KEY.encode() not in gzip.decompress(archive.read_bytes())
    other = elsewhere()
    status, said = run(other, "restore", str(archive))
    assert status == 0
    assert "gateways can't be opened: own." in said
    assert "single sign-on can't be opened: office." in said
    assert "recovery codes can't be opened: stepper." in said
    shutil.copy(kept.data_dir / "gateway_keys", other.data_dir)
    code = "from chat.models import *; print(Gateway.objects.get(slug='own').key)"
    assert other.manage("shell", "-v0", "-c", code).strip() == KEY


def test_a_backup_is_never_written_over_and_none_is_left_half(kept, tmp_path):
    target = tmp_path / "backup.tar.gz"
    target.write_text("precious")
    status, said = run(kept, "backup", str(target))
    assert status == 1
    assert "is there already" in said
    assert target.read_text() == "precious"
    status, said = run(kept, "backup", str(tmp_path / "nowhere" / "backup.tar.gz"))
    assert status == 1
    assert [path.name for path in tmp_path.iterdir()] == ["backup.tar.gz"]


def test_what_a_killed_backup_had_unpacked_is_gone_a_day_later(tmp_path):
    old, young = tmp_path / f"{DRAFT}old", tmp_path / f"{DRAFT}young"
    for folder in (old, young, tmp_path / "precious"):
        folder.mkdir()
        (folder / "database.sqlite3").touch()
    for folder in (old, tmp_path / "precious"):
        os.utime(folder, (0, 0))
    drop_leftovers(tmp_path, DRAFT)
    assert {path.name for path in tmp_path.iterdir()} == {young.name, "precious"}


def test_without_pg_dump_it_says_what_to_install(elsewhere, postgresql, tmp_path):
    other = elsewhere(DATABASE_URL=postgresql.create_database(), PATH="/nowhere")
    status, said = run(other, "backup", str(tmp_path / "backup.tar.gz"))
    assert status == 1
    assert "apt install postgresql-client" in said
    assert not list(tmp_path.glob("*backup*"))


def test_a_damaged_database_is_not_backed_up(kept, elsewhere, tmp_path):
    other = elsewhere()
    content = bytearray((kept.data_dir / "db.sqlite3").read_bytes())
    content[5 * 4096 : 40 * 4096] = b"\x55" * (35 * 4096)
    (other.data_dir / "db.sqlite3").write_bytes(content)
    status, said = run(other, "backup", str(tmp_path / "backup.tar.gz"))
    assert status == 1
    assert "can't be backed up" in said
    assert not (tmp_path / "backup.tar.gz").exists()
    assert not list(tmp_path.glob(".potok-*"))


def changed(archive: Path, target: Path, change: Callable[[dict[str, bytes], dict], None]) -> Path:
    content = parts(archive)
    manifest = json.loads(content["manifest.json"])
    change(content, manifest)
    content["manifest.json"] = json.dumps(manifest).encode()
    pack(target, content)
    return target


def damage(content, _manifest):
    content["database.sqlite3"] = content["database.sqlite3"][:-1] + b"\x01"


def lose(content, _manifest):
    del content["keys/gateway_keys"]


def add(content, _manifest):
    content["files/more"] = b"of somebody else's"


def lead_outside(content, manifest):
    content["files/../../outside"] = b"of somebody else's"
    manifest["files"]["files/../../outside"] = manifest["files"]["keys/secret_key"]


def come_from_the_future(_content, manifest):
    manifest["migrations"].append(["chat", "9999_later"])


def come_in_another_format(_content, manifest):
    manifest["format"] = 2


def be_of_another_database(_content, manifest):
    manifest["database"] = "oracle"
    manifest["migrations"] = []


def count_wrongly(_content, manifest):
    manifest["counts"]["chat_user"] = 7


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (damage, "database.sqlite3 is damaged"),
        (lose, "keys/gateway_keys is missing"),
        (add, "files/more is not what its manifest says"),
        (lead_outside, "names a file outside"),
        (come_in_another_format, "a newer version made it"),
    ],
)
def test_what_is_not_whole_is_not_unpacked_as_if_it_were(archive, tmp_path, change, told):
    with pytest.raises(Broken, match=told):
        unpack(changed(archive, tmp_path / "changed", change), tmp_path / "folder")
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("left", [0, 1, 100, 0.5, 0.9])
def test_a_file_that_was_cut_is_no_backup(archive, tmp_path, left):
    content = archive.read_bytes()
    bytes_left = left if left >= 1 else int(len(content) * left)
    (tmp_path / "cut").write_bytes(content[:bytes_left])
    with pytest.raises(Broken):
        unpack(tmp_path / "cut", tmp_path / "folder")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (come_from_the_future, "A newer version made"),
        (be_of_another_database, "a backup of oracle"),
    ],
)
def test_what_is_not_of_this_version_is_refused(archive, tmp_path, change, told):
    manifest = unpack(changed(archive, tmp_path / "changed", change), tmp_path / "folder")
    with pytest.raises(CommandError, match=told):
        judge(manifest)


@pytest.mark.parametrize(
    ("change", "told"),
    [(damage, "database.sqlite3 is damaged"), (count_wrongly, "doesn't have the rows")],
)
def test_what_is_refused_has_changed_nothing(archive, elsewhere, tmp_path, change, told):
    other = elsewhere()
    status, said = run(other, "restore", str(changed(archive, tmp_path / "changed", change)))
    assert status == 1
    assert told in said
    assert_untouched(other)


def assert_untouched(server: Server) -> None:
    names = {path.name for path in server.data_dir.iterdir()}
    assert {name for name in names if name.startswith(".")} == set()
    with sqlite3.connect(server.data_dir / "db.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_a_database_with_the_tables_of_others_is_left_alone(
    archive, elsewhere, postgresql, tmp_path
):
    url = postgresql.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE invoices (id integer)")
    other = elsewhere(DATABASE_URL=url)
    status, said = run(other, "restore", str(archive))
    assert status == 1
    assert "invoices" in said

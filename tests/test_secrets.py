"""Gateways' keys at rest: sealed outside of the database's reach, rotated without a gap, never told."""

import io
import json
import stat
import subprocess
import sys

import pytest
from django.core import serializers
from django.core.management import call_command
from django.core.management.base import CommandError

from chat.models import Gateway, secrets
from chat.models.secrets import Unsealable, seal, unseal
from chat.replies.endpoints import endpoint_of
from chat.upstream.errors import GatewayError
from tests import rows
from tests.server import ROOT

KEY = "sk-a-very-secret-key-7f3a"


@pytest.fixture(autouse=True)
def own_file(settings, tmp_path):
    settings.SECRETS_KEYS = []
    settings.SECRETS_FILE = tmp_path / "gateway_keys"
    settings.SECRETS_FILE.write_text("first-secret\n")
    return settings.SECRETS_FILE


def with_key(slug="own", key=KEY):
    gateway = rows.gateway(slug)
    gateway.key = key
    gateway.save()
    return Gateway.objects.get(pk=gateway.pk)


def test_what_was_sealed_is_unsealed():
    sealed = seal(KEY)
    assert KEY not in sealed
    assert unseal(sealed) == KEY
    assert seal(KEY) != sealed


@pytest.mark.parametrize("sealed", ["", "nonsense", "gAAAAABnonsense", "ключ"])
def test_what_was_never_sealed_is_not_unsealed(sealed):
    with pytest.raises(Unsealable):
        unseal(sealed)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"another-secret\n", b"\xff\xfe\n"])
def test_without_its_secret_nothing_is_unsealed(own_file, content):
    sealed = seal(KEY)
    if content is None:
        own_file.unlink()
    else:
        own_file.write_bytes(content)
    with pytest.raises(Unsealable):
        unseal(sealed)


def test_an_older_secret_still_opens_and_the_newest_seals(own_file):
    old = seal(KEY)
    own_file.write_text("second-secret\nfirst-secret\n")
    new = seal(KEY)
    assert unseal(old) == unseal(new) == KEY
    own_file.write_text("second-secret\n")
    assert unseal(new) == KEY
    with pytest.raises(Unsealable):
        unseal(old)


def test_the_environments_secrets_come_before_the_files(settings, own_file):
    old = seal(KEY)
    settings.SECRETS_KEYS = ["a" * 32]
    assert unseal(old) == KEY
    new = seal(KEY)
    own_file.unlink()
    assert unseal(new) == KEY


def test_a_new_secret_comes_first_and_only_its_owner_reads_the_file(own_file):
    secrets.renew()
    newest, oldest = own_file.read_text().split()
    assert oldest == "first-secret"
    assert len(newest) > 40
    assert stat.S_IMODE(own_file.stat().st_mode) == 0o600
    assert [path.name for path in own_file.parent.iterdir()] == [own_file.name]


def test_settings_make_the_file_once_for_its_owner_alone(tmp_path):
    def read():
        code = "from django.conf import settings; print(settings.SECRETS_FILE.read_text())"
        env = {"DJANGO_SETTINGS_MODULE": "chat.settings", "POTOK_DATA_DIR": str(tmp_path / "new")}
        run = [sys.executable, "-c", code]
        return subprocess.run(run, cwd=ROOT, env=env, capture_output=True, check=True).stdout

    first = read()
    assert len(first) > 40
    assert read() == first
    assert stat.S_IMODE((tmp_path / "new" / "gateway_keys").stat().st_mode) == 0o600


# --- gateways -----------------------------------------------------------------------------------


@pytest.mark.django_db
def test_rotation_seals_every_key_anew(own_file):
    gateways = [with_key("one"), with_key("two", "sk-two"), rows.gateway("none")]
    before = [gateway.sealed_key for gateway in gateways]
    call_command("rotate_keys", stdout=io.StringIO())
    newest = own_file.read_text().split()[0]
    own_file.write_text(newest)
    after = [Gateway.objects.get(pk=gateway.pk) for gateway in gateways]
    assert [gateway.key for gateway in after] == [KEY, "sk-two", ""]
    assert all(b != gateway.sealed_key for b, gateway in zip(before[:2], after[:2], strict=True))


@pytest.mark.django_db
def test_rotation_names_what_it_cannot_unseal_and_does_the_rest(own_file):
    lost, kept = with_key("lost"), None
    own_file.write_text("another-secret\n")
    kept = with_key("kept")
    with pytest.raises(CommandError, match="lost") as caught:
        call_command("rotate_keys", stdout=io.StringIO())
    assert "kept" not in str(caught.value)
    own_file.write_text(own_file.read_text().split()[0])
    assert Gateway.objects.get(pk=kept.pk).key == KEY
    assert Gateway.objects.get(pk=lost.pk).sealed_key == lost.sealed_key


@pytest.mark.django_db
def test_a_key_that_cannot_be_unsealed_is_an_error_of_its_gateway_alone(own_file):
    gateway = with_key()
    own_file.write_text("another-secret\n")
    with pytest.raises(GatewayError) as caught:
        endpoint_of(gateway)
    assert (caught.value.kind, caught.value.reason) == ("auth", "sealed")


@pytest.mark.django_db
def test_a_key_is_in_no_row_no_fixture_no_repr():
    gateway = with_key()
    assert endpoint_of(gateway).key == KEY
    shown = [
        str(list(Gateway.objects.values())),
        serializers.serialize("json", Gateway.objects.all()),
        repr(gateway),
        repr(endpoint_of(gateway)),
        json.dumps(str(vars(gateway))),
    ]
    assert [text for text in shown if KEY in text] == []


@pytest.mark.django_db
def test_the_environments_key_wins_over_one_that_was_sealed(settings):
    gateway = with_key("openai")
    settings.GATEWAYS = [
        {"slug": "openai", "name": "O", "base_url": "http://o/v1", "key": "sk-e", "currency": "USD"}
    ]
    Gateway.sync_environment()
    assert Gateway.objects.get(pk=gateway.pk).key == "sk-e"

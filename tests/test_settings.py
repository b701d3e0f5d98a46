"""The environment: what is right is taken, what is wrong ends the start with a sentence."""

import runpy
import stat

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.server import ROOT


@pytest.fixture
def settings_of(monkeypatch, tmp_path):
    """The settings under this environment, by name."""

    def read(**env):
        monkeypatch.setenv("POTOK_DATA_DIR", str(tmp_path / "data"))
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(ROOT / "chat" / "settings.py"))

    return read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("PORT", "70000"),
        ("POTOK_URL", "chat.example.org"),
        ("POTOK_URL", "https://chat.example.org/potok"),
        ("POTOK_URL", "ftp://chat.example.org"),
        ("POTOK_CONNECT_S", "0"),
        ("POTOK_TOTAL_S", "-1"),
        ("POTOK_TOTAL_S", "nan"),
        ("POTOK_TOTAL_S", "inf"),
        ("POTOK_DRAIN_S", "soon"),
        ("POTOK_MAX_MESSAGE_CHARS", "0"),
        ("POTOK_DEMO", "perhaps"),
        ("POTOK_TITLES", "yes"),
        ("OPENAI_BASE_URL", "gateway.example/v1"),
        ("DATABASE_URL", "nonsense"),
        ("DATABASE_URL", "oracle9://x"),
        ("EMAIL_URL", "nonsense"),
        ("LANGUAGE_CODE", "xx"),
        ("TIME_ZONE", "Mars/Base"),
        ("POTOK_SECRETS_KEY", "too-short"),
        ("POTOK_SECRETS_KEY", f"{'a' * 32}, too-short"),
    ],
)
def test_a_wrong_value_is_named(settings_of, name, value):
    with pytest.raises(ImproperlyConfigured, match=name):
        settings_of(**{name: value})


def test_redis_without_postgresql_is_refused(settings_of):
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL"):
        settings_of(REDIS_URL="redis://127.0.0.1:6379/0")


def test_a_secret_is_in_no_error(settings_of):
    with pytest.raises(ImproperlyConfigured) as refused:
        settings_of(DATABASE_URL="mysqlish://potok:hunter2@db/potok")
    assert "hunter2" not in str(refused.value)


def test_without_an_environment_it_serves_at_home(settings_of):
    found = settings_of()
    assert not found["DEBUG"]
    assert found["ORIGINS"] == ["http://127.0.0.1:8000", "http://localhost:8000"]
    assert found["SESSION_COOKIE_NAME"] == "sessionid"
    assert found["CSRF_COOKIE_NAME"] == "csrftoken"
    assert not found["SECURE_SSL_REDIRECT"]
    assert found["SECURE_HSTS_SECONDS"] == 0
    assert [gateway["slug"] for gateway in found["GATEWAYS"]] == ["demo"]


def test_https_is_strict(settings_of):
    found = settings_of(POTOK_URL="https://chat.example.org")
    assert found["ALLOWED_HOSTS"] == ["chat.example.org"]
    assert found["SESSION_COOKIE_NAME"] == "__Host-sessionid"
    assert found["CSRF_COOKIE_NAME"] == "__Host-csrftoken"
    assert found["SESSION_COOKIE_SECURE"]
    assert found["CSRF_COOKIE_SECURE"]
    assert found["SECURE_SSL_REDIRECT"]
    assert found["SECURE_HSTS_SECONDS"] > 0


def test_the_secret_key_is_made_once_and_for_its_owner_only(settings_of, tmp_path):
    path = tmp_path / "data" / "secret_key"
    first = settings_of()["SECRET_KEY"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(first) >= 50
    assert settings_of()["SECRET_KEY"] == first == path.read_text().strip()


def test_a_given_secret_key_makes_no_file(settings_of, tmp_path):
    assert settings_of(SECRET_KEY="given")["SECRET_KEY"] == "given"
    assert not (tmp_path / "data" / "secret_key").exists()


@pytest.mark.parametrize(
    ("env", "gateway"),
    [
        ({"OPENAI_API_KEY": "k"}, ("openai", "https://api.openai.com/v1", "k", "USD")),
        ({"OPENAI_BASE_URL": "http://h:1/v1/"}, ("openai", "http://h:1/v1", "", "USD")),
        ({"AITUNNEL_API_KEY": "k"}, ("aitunnel", "https://api.aitunnel.ru/v1", "k", "RUB")),
        ({"AIJORA_API_KEY": "k"}, ("aijora", "https://api.aijora.com/api/v1", "k", "RUB")),
        (
            {"OPENROUTER_API_KEY": "k", "OPENROUTER_BASE_URL": "http://h/v1"},
            ("openrouter", "http://h/v1", "k", "USD"),
        ),
    ],
)
def test_each_key_adds_its_gateway_before_the_demo(settings_of, env, gateway):
    found, demo = settings_of(**env)["GATEWAYS"]
    assert (found["slug"], found["base_url"], found["key"], found["currency"]) == gateway
    assert demo["slug"] == "demo"


def test_the_demo_can_be_switched_off(settings_of):
    assert settings_of(POTOK_DEMO="0")["GATEWAYS"] == []


def test_the_demos_key_is_this_installations_own(settings_of, tmp_path):
    first = settings_of()["DEMO_KEY"]
    assert settings_of()["DEMO_KEY"] == first
    (tmp_path / "data" / "secret_key").unlink()
    assert settings_of()["DEMO_KEY"] != first

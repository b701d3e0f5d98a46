"""All settings, and the only reader of the environment. The names are described in docs/settings.md.

Every value is parsed here, once, loudly: a wrong one ends the process with a sentence that names it.
"""

import secrets
import zoneinfo
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()


def _text(name: str, default: str = "") -> str:
    return str(env.str(name, default=default)).strip()


def _number(name: str, default: float, least: float = 0, most: float = 1e12) -> float:
    """A number from `least` to `most`, neither infinite nor NaN."""
    raw = _text(name, str(default))
    try:
        value = float(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {raw!r}.") from None
    if not least <= value <= most:
        raise ImproperlyConfigured(f"{name} must be from {least:g} to {most:g}, not {raw}.")
    return value


def _one_of(name: str, default: str, known: Collection[str]) -> str:
    value = _text(name, default)
    if value not in known:
        raise ImproperlyConfigured(f"{name} must be {_either(known)}, not {value!r}.")
    return value


def _either(words: Collection[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}"


def _database_url(default: str) -> dict[str, Any]:
    url = _text("DATABASE_URL", default)
    # Checked here: environ takes any scheme for an engine, or prints the URL with its password.
    if url.partition("://")[0] not in ("sqlite", "postgresql", "postgres"):
        raise ImproperlyConfigured(
            "DATABASE_URL must be sqlite:///path or postgresql://user:password@host:port/name."
        )
    return dict(env.db_url_config(url))


def _origins(name: str, default: list[str]) -> list[str]:
    """Comma-separated full origins: scheme, host, port when it isn't the scheme's own."""
    origins = [part.strip().rstrip("/") for part in _text(name).split(",") if part.strip()]
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            raise ImproperlyConfigured(
                f"{name} must be full origins such as https://chat.example.org, not {origin!r}."
            )
    return origins or default


def _made_once(path: Path) -> Path:
    """A file with a random secret that only its owner may read."""
    if not path.exists():
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        draft.touch(mode=0o600)
        draft.write_text(f"{secrets.token_urlsafe(64)}\n")
        # A hard link fails where the name exists, so of two first starts at once one secret wins.
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path


def _secrets_keys() -> list[str]:
    """POTOK_SECRETS_KEY: one secret, or several separated by commas, the newest first."""
    keys = [part.strip() for part in _text("POTOK_SECRETS_KEY").split(",") if part.strip()]
    if any(len(key) < 32 for key in keys):
        raise ImproperlyConfigured("POTOK_SECRETS_KEY must be at least 32 characters long.")
    return keys


# --- where it lives and who may call it -------------------------------------------------------

DATA_DIR = Path(_text("POTOK_DATA_DIR", str(BASE_DIR / "var"))).resolve()
# Every conversation lies in it: nobody else of this machine may look in.
DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)

HOST = _text("HOST", "127.0.0.1")
PORT = int(_number("PORT", 8000, 1, 65535))
_loopback = "127.0.0.1" if HOST in ("", "0.0.0.0", "::") else HOST  # noqa: S104
# Where this machine itself reaches what listens on HOST.
LOCAL_URL = f"http://{f'[{_loopback}]' if ':' in _loopback else _loopback}:{PORT}"
ORIGINS = _origins("POTOK_URL", [f"http://127.0.0.1:{PORT}", f"http://localhost:{PORT}"])
HTTPS = all(origin.startswith("https://") for origin in ORIGINS)
TRUSTED_PROXIES = [p.strip() for p in _text("TRUSTED_PROXIES").split(",") if p.strip()]

REDIS_URL = _text("REDIS_URL")
# The one fact that tells the two forms apart: see DESIGN in docs/architecture.md.
EMBEDDED = not REDIS_URL

DEBUG = False
SECRET_KEY = _text("SECRET_KEY") or _made_once(DATA_DIR / "secret_key").read_text().strip()
# Under these the gateways' keys are sealed in the database (chat/models/secrets.py).
SECRETS_KEYS = _secrets_keys()
SECRETS_FILE = DATA_DIR / "gateway_keys" if SECRETS_KEYS else _made_once(DATA_DIR / "gateway_keys")
# Before all names in Redis, which may serve other installations as well.
REDIS_PREFIX = f"potok:{salted_hmac('potok.redis', '', secret=SECRET_KEY).hexdigest()[:12]}"
ALLOWED_HOSTS = sorted({urlsplit(origin).hostname or "" for origin in ORIGINS})
CSRF_TRUSTED_ORIGINS = ORIGINS

# --- Django ------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "chat",
    "chat.admin.site.PotokAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
]
MIDDLEWARE = [
    "chat.proxies.behind_proxies",
    "chat.logs.identified",
    "chat.page.middleware.probes",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "chat.page.middleware.gate",
    "chat.page.middleware.reader",
    "chat.page.middleware.AgainAfterDeadlock",
]
ROOT_URLCONF = "chat.urls"
ASGI_APPLICATION = "chat.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["chat.templatetags.icons"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chat.page.context.page",
            ],
        },
    },
]
AUTH_USER_MODEL = "chat.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {"default": _database_url(f"sqlite:///{DATA_DIR}/db.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        # FULL: a reply that was reported complete survives a power cut. IMMEDIATE: a transaction
        # that turns from reading to writing would fail at once instead of waiting its 20 s.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    }
else:
    # A server that vanished is given up, and one that restarted asked again, within what is promised.
    DATABASES["default"]["OPTIONS"] = {"connect_timeout": 5, "tcp_user_timeout": 10_000} | (
        DATABASES["default"].get("OPTIONS", {})
    )
if not EMBEDDED and not DATABASES["default"]["ENGINE"].endswith("postgresql"):
    raise ImproperlyConfigured("With REDIS_URL set, DATABASE_URL must name a PostgreSQL database.")

LANGUAGES = [("en", _("English")), ("ru", _("Russian"))]
LANGUAGE_CODE = _one_of("LANGUAGE_CODE", "en", [code for code, _name in LANGUAGES])
LOCALE_PATHS = [BASE_DIR / "chat" / "locale"]
TIME_ZONE = _text("TIME_ZONE", "UTC")
if TIME_ZONE not in zoneinfo.available_timezones():
    raise ImproperlyConfigured(
        f"TIME_ZONE must be a name such as Europe/Moscow, not {TIME_ZONE!r}."
    )
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "chat.joining.JoiningStorage"},
}
# Nothing asks for the plain names, and to compress each file twice doubles a first start.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
# For fonts and such that a page of another origin loads: ours are for our own.
WHITENOISE_ALLOW_ALL_ORIGINS = False

email_url = _text("EMAIL_URL")
SENDS_MAIL = bool(email_url)
EMAIL_TIMEOUT = 10
if email_url:
    try:
        vars().update(environ.Env.email_url_config(email_url))
    except (KeyError, ValueError, ImproperlyConfigured):
        raise ImproperlyConfigured(
            "EMAIL_URL must be such as smtp+tls://user:password@mail.example.org:587."
        ) from None
_mail_user = str(vars().get("EMAIL_HOST_USER") or "")
DEFAULT_FROM_EMAIL = _mail_user if "@" in _mail_user else f"potok@{urlsplit(ORIGINS[0]).hostname}"

# --- security ----------------------------------------------------------------------------------

_prefix = "__Host-" if HTTPS else ""
SESSION_ENGINE = "chat.sessions"
SESSION_COOKIE_NAME = f"{_prefix}sessionid"
CSRF_COOKIE_NAME = f"{_prefix}csrftoken"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_SSL_REDIRECT = HTTPS
# The built-in gateway and the probes are called over loopback, where there is no TLS.
SECURE_REDIRECT_EXEMPT = [r"^demo/v1/", r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# --- Potok -------------------------------------------------------------------------------------

CONNECT_S = _number("POTOK_CONNECT_S", 10, 0.01)
FIRST_BYTE_S = _number("POTOK_FIRST_BYTE_S", 120, 0.01)
IDLE_BYTES_S = _number("POTOK_IDLE_BYTES_S", 120, 0.01)
IDLE_PAYLOAD_S = _number("POTOK_IDLE_PAYLOAD_S", 1200, 0.01)
TOTAL_S = _number("POTOK_TOTAL_S", 3600, 0.01)
DRAIN_S = _number("POTOK_DRAIN_S", 20)
LEASE_S = _number("POTOK_LEASE_S", 10, 1)
MAX_MESSAGE_CHARS = int(_number("POTOK_MAX_MESSAGE_CHARS", 200_000, 1))
MAX_REPLY_BYTES = int(_number("POTOK_MAX_REPLY_BYTES", 2_000_000, 1))
# Of one person: the replies that run at once, others of theirs wait; and what they may ask for a minute.
REPLIES_AT_ONCE = int(_number("POTOK_REPLIES_AT_ONCE", 100, 1))
REQUESTS_A_MINUTE = int(_number("POTOK_REQUESTS_A_MINUTE", 120, 0))
# Whether budgets may warn a server of this machine or of the local network, over plain http too.
PRIVATE_WEBHOOKS = _one_of("POTOK_PRIVATE_WEBHOOKS", "0", ("0", "1")) == "1"
METRICS_TOKEN = _text("METRICS_TOKEN")
# Whether staff whose role allows it may read others' conversations: yes, with a reason each, no.
STAFF_READING = _one_of("POTOK_STAFF_READING", "1", ("0", "1", "reason"))
# A form field may grow ninefold when it is sent percent-encoded (three bytes a Cyrillic letter's byte).
DATA_UPLOAD_MAX_MEMORY_SIZE = max(2_621_440, MAX_MESSAGE_CHARS * 12 + 65_536)

# The first owner for set-ups without a browser; read only while there is no user.
FIRST_OWNER = {
    name: _text(f"DJANGO_SUPERUSER_{name.upper()}") for name in ("username", "password", "email")
}

DEMO = _one_of("POTOK_DEMO", "1", ("0", "1", "faults"))
DEMO_KEY = salted_hmac("potok.demo", "key", secret=SECRET_KEY, algorithm="sha256").hexdigest()
DEMO_URL = _text("POTOK_DEMO_URL", f"{LOCAL_URL}/demo/v1").rstrip("/")
STREAMS_DIR = _text("POTOK_STREAMS_DIR")
TITLES = _one_of("POTOK_TITLES", "1", ("0", "1")) == "1"


def _gateways() -> list[dict[str, str]]:
    """The gateways that the environment names, in the order in which a model is looked for."""
    known = [
        ("openai", "OpenAI", "OPENAI", "https://api.openai.com/v1", "USD"),
        ("aitunnel", "AITUNNEL", "AITUNNEL", "https://api.aitunnel.ru/v1", "RUB"),
        ("aijora", "AIJORA", "AIJORA", "https://api.aijora.com/api/v1", "RUB"),
        ("openrouter", "OpenRouter", "OPENROUTER", "https://openrouter.ai/api/v1", "USD"),
    ]
    found = []
    for slug, name, prefix, address, currency in known:
        key = _text(f"{prefix}_API_KEY")
        base_url = _text(f"{prefix}_BASE_URL").rstrip("/")
        if not key and not (slug == "openai" and base_url):
            continue
        if base_url and urlsplit(base_url).scheme not in ("http", "https"):
            raise ImproperlyConfigured(f"{prefix}_BASE_URL must start with http:// or https://.")
        if slug == "openai" and base_url:
            name = urlsplit(base_url).netloc.rpartition("@")[2]
        found.append(
            {
                "slug": slug,
                "name": name,
                "base_url": base_url or address,
                "key": key,
                "currency": currency,
            }
        )
    if DEMO != "0":
        found.append(
            {
                "slug": "demo",
                "name": "Demo",
                "base_url": DEMO_URL,
                "key": DEMO_KEY,
                "currency": "USD",
            }
        )
    return found


GATEWAYS = _gateways()


def _single_sign_on() -> dict[str, Any] | None:
    """The provider that the environment names, as a row of chat/models/identities.py has it."""
    issuer, client_id = _text("POTOK_OIDC_ISSUER"), _text("POTOK_OIDC_CLIENT_ID")
    if not issuer and not client_id:
        return None
    if urlsplit(issuer).scheme not in ("http", "https") or not urlsplit(issuer).hostname:
        raise ImproperlyConfigured(
            "POTOK_OIDC_ISSUER must be an address such as https://id.example.org."
        )
    if not client_id:
        raise ImproperlyConfigured("POTOK_OIDC_CLIENT_ID must be set with POTOK_OIDC_ISSUER.")
    return {
        "issuer": issuer,
        "client_id": client_id,
        "secret": _text("POTOK_OIDC_CLIENT_SECRET"),
        "name": _text("POTOK_OIDC_NAME") or str(urlsplit(issuer).hostname),
        "scope": _text("POTOK_OIDC_SCOPE", "openid profile email"),
        "domains": _text("POTOK_OIDC_DOMAINS"),
        "groups_claim": _text("POTOK_OIDC_GROUPS_CLAIM"),
        "groups": _text("POTOK_OIDC_GROUPS"),
        "makes_accounts": _one_of("POTOK_OIDC_MAKES_ACCOUNTS", "0", ("0", "1")) == "1",
    }


OIDC = _single_sign_on()

# --- logging --------------------------------------------------------------------------

LOG = _one_of("POTOK_LOG", "lines", ("lines", "json"))
SECURITY_LOG = _text("POTOK_SECURITY_LOG")
if SECURITY_LOG:
    try:
        Path(SECURITY_LOG).touch(mode=0o600)
    except OSError as error:
        raise ImproperlyConfigured(
            f"POTOK_SECURITY_LOG must be a file that can be written ({error.strerror})."
        ) from None
_to_file = {"class": "logging.handlers.WatchedFileHandler", "filename": SECURITY_LOG}
_to_stderr = {"class": "logging.StreamHandler"}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "chat.logs.Line"}, "json": {"()": "chat.logs.Json"}},
    "filters": {"refusals": {"()": "chat.logs.Refusals"}},
    "handlers": {
        "stderr": _to_stderr | {"formatter": LOG, "filters": ["refusals"]},
        "security": (_to_file if SECURITY_LOG else _to_stderr) | {"formatter": LOG},
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "chat": {"level": "INFO"},
        # In a log of its own: chat/security.py.
        "chat.security": {"handlers": ["security"], "level": "INFO", "propagate": False},
        # A stranger's Host is answered with 400; the page of a traceback each would fill the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        # httpx logs whole addresses; a key may hide in one.
        "httpx": {"level": "WARNING"},
    },
}

"""Settings, all from the environment. ``docs/reference/settings.md`` lists every variable."""

from __future__ import annotations

import contextlib
import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool = False) -> bool:
    return os.environ.get(name, str(default)).lower() in {"1", "true", "yes", "on"}


def _secret(name: str) -> str | None:
    """Read a secret from the environment, or from the file that ``<name>_FILE`` names."""
    if path := os.environ.get(f"{name}_FILE"):
        return Path(path).read_text().strip()
    return os.environ.get(name)


# --- where things are -------------------------------------------------------------------------------------

DATA_ROOT = Path(os.environ.get("OCTOLAB_DATA_ROOT", BASE_DIR / "var"))
LAB_FILE = Path(os.environ.get("OCTOLAB_LAB", BASE_DIR / "octolab" / "labs" / "silver.toml"))
MONGO_URL = os.environ.get("OCTOLAB_MONGO_URL", "mongodb://127.0.0.1:27017/octolab")
REDIS_URL = os.environ.get("OCTOLAB_REDIS_URL", "redis://127.0.0.1:6379/0")


def _address() -> str:
    """Return where people reach the server: for commands beside a stack of ``deploy/up``, as it has noted."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return os.environ.get("OCTOLAB_PUBLIC_URL") or str(
            json.loads((DATA_ROOT / "running.json").read_text())["address"]
        )
    return "http://127.0.0.1:8000"


PUBLIC_URL = _address().rstrip("/")
NOTIFY_PRIVATE = _flag("OCTOLAB_NOTIFY_PRIVATE")

DATABASES = {
    "default": dj_database_url.parse(
        os.environ.get("OCTOLAB_DATABASE_URL", f"sqlite:///{DATA_ROOT / 'octolab.sqlite3'}"),
        conn_max_age=None,
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["ENGINE"] = "octolab.sqlite"
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = False
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
        " PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000;",
    }

# --- security ---------------------------------------------------------------------------------------------

DEBUG = _flag("OCTOLAB_DEBUG")
_LOCAL_SECRET_KEY = DATA_ROOT / "secrets" / "secret_key"
"""Where `deploy/up` keeps the one that it made, so that `manage.py` works beside a local stack."""
SECRET_KEY = _secret("OCTOLAB_SECRET_KEY") or (_LOCAL_SECRET_KEY.read_text() if _LOCAL_SECRET_KEY.exists() else "")
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "OCTOLAB_SECRET_KEY is not set. Set it, or OCTOLAB_SECRET_KEY_FILE, to 50 or more random characters and keep"
        " them secret: sessions are signed with it. `python -c 'import secrets; print(secrets.token_urlsafe(50))'`"
        " prints some. For a command beside a stack of `deploy/up --data DIR`, set OCTOLAB_DATA_ROOT to DIR."
    )
ALLOWED_HOSTS = os.environ.get("OCTOLAB_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
CSRF_TRUSTED_ORIGINS = [o for o in os.environ.get("OCTOLAB_TRUSTED_ORIGINS", "").split(",") if o]

HTTPS = _flag("OCTOLAB_HTTPS")
"""Whether people reach the server by https. A proxy that ends TLS must be named to uvicorn
(``--proxy-headers --forwarded-allow-ips``): scheme and client address are taken from uvicorn, never from a header."""
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^api/v1/health", r"^api/v1/metrics$"]
SECURE_HSTS_SECONDS = int(os.environ.get("OCTOLAB_HSTS_S", 365 * 24 * 3600)) if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
CSRF_FAILURE_VIEW = "octolab.api.errors.csrf_failure"
X_FRAME_OPTIONS = "DENY"
# Submitting a domain to the browsers' preload lists is its owner's decision, not a lab server's.
SILENCED_SYSTEM_CHECKS = ["security.W021"] if HTTPS else []

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'"
)
"""No script or style from elsewhere, and none inline."""

MAX_BODY_BYTES = int(os.environ.get("OCTOLAB_MAX_BODY_BYTES", 2 * 1024 * 1024))
"""Of any request. The ASGI handler stops reading there."""
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES

REQUESTS_PER_MINUTE = {
    "user": int(os.environ.get("OCTOLAB_REQUESTS_PER_USER", 12_000)),
    "address": int(os.environ.get("OCTOLAB_REQUESTS_PER_ADDRESS", 60_000)),
    "anonymous": int(os.environ.get("OCTOLAB_REQUESTS_ANONYMOUS", 1_200)),
    "password": int(os.environ.get("OCTOLAB_PASSWORDS_PER_ADDRESS", 60)),
    "urgent": 600,
}
"""What may come in a minute: from a user; from an address; from an address without a credential that is known to work
(``anonymous``); passwords that an address tries over the API; emergency stops without such a credential. 0: any."""
SOCKETS_PER_USER = int(os.environ.get("OCTOLAB_SOCKETS_PER_USER", 50))
SOCKETS_PER_ADDRESS = int(os.environ.get("OCTOLAB_SOCKETS_PER_ADDRESS", 500))
"""Websockets that may be open at the same time in each web process."""

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
# By pair: nobody can lock another person out from somewhere else.
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_CLIENT_IP_CALLABLE = "octolab.addresses.client_address"
AXES_LOCKOUT_CALLABLE = "users.throttling.locked_out"
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False

# --- the application --------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "rest_framework",
    "knox",
    "django_filters",
    "drf_spectacular",
    "channels",
    "axes",
    "django_htmx",
    "octolab",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.usersessions",
    "users",
    "scheduler",
    "analysis",
    "notifications",
]

MIDDLEWARE = [
    "octolab.middleware.Headers",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "octolab.api.errors.ProblemMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "users.audit.log.OriginMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "allauth.usersessions.middleware.UserSessionsMiddleware",
    "users.accounts.middleware.SecondFactorMiddleware",
    "users.accounts.middleware.ProviderAwayMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
    "octolab.dashboard.thelab.LabAwayMiddleware",
    "octolab.later.AgainMiddleware",
]

ROOT_URLCONF = "octolab.urls"
ASGI_APPLICATION = "octolab.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "octolab.dashboard.context.lab",
            ],
        },
    }
]

AUTH_USER_MODEL = "users.User"
KNOX_TOKEN_MODEL = "users.Token"  # noqa: S105
REST_KNOX = {"TOKEN_PREFIX": "octolab_", "AUTH_HEADER_PREFIX": "Bearer", "TOKEN_TTL": None}
# Tokens are users.Token: knox's own table would only stand in the way of who empties the database.
MIGRATION_MODULES = {"knox": None}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
ACCOUNT_ADAPTER = "users.accounts.adapter.AccountAdapter"
ACCOUNT_FORMS = {"login": "users.accounts.forms.LoginForm"}
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[octolab] "
# Whoever's password, address or second factor changes is told by mail.
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_LOGOUT_REDIRECT_URL = "/login"
ACCOUNT_USER_MODEL_USERNAME_FIELD = "username"
# Guessing passwords is what axes is there for.
ACCOUNT_RATE_LIMITS = {"login_failed": None}
SOCIALACCOUNT_ADAPTER = "users.accounts.adapter.SocialAccountAdapter"
SOCIALACCOUNT_ONLY = False
# A provider that hangs holds one of its own threads (octolab.handler) for so long.
SOCIALACCOUNT_REQUESTS_TIMEOUT = 3
USERSESSIONS_TRACK_ACTIVITY = True
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "octolab"
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not HTTPS
MFA_ALLOW_UNVERIFIED_EMAIL = True

OIDC_URL = os.environ.get("OCTOLAB_OIDC_URL", "")
"""Address of an OpenID Connect provider; with its client id and secret, people may sign in through it."""
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, Any]] = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": []}}
if OIDC_URL:
    SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"].append(
        {
            "provider_id": "sso",
            "name": os.environ.get("OCTOLAB_OIDC_NAME", "Single sign-on"),
            "client_id": os.environ.get("OCTOLAB_OIDC_CLIENT_ID", ""),
            "secret": _secret("OCTOLAB_OIDC_SECRET") or "",
            "settings": {"server_url": OIDC_URL},
        }
    )
    # A form that starts the sign-on is redirected there.
    CONTENT_SECURITY_POLICY = CONTENT_SECURITY_POLICY.replace(
        "form-action 'self'", "form-action 'self' {0.scheme}://{0.netloc}".format(urlsplit(OIDC_URL))
    )

_SMTP = urlsplit(_secret("OCTOLAB_SMTP_URL") or "")
"""``smtp://user:password@host:587``; without one, mails are kept as files in the data root."""
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _SMTP.hostname else 'filebased'}.EmailBackend"
EMAIL_FILE_PATH = str(DATA_ROOT / "mail")
EMAIL_HOST, EMAIL_PORT = _SMTP.hostname or "localhost", _SMTP.port or 587
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_SMTP.username or ""), unquote(_SMTP.password or "")
EMAIL_USE_TLS = bool(_SMTP.username)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = os.environ.get("OCTOLAB_MAIL_FROM", "octolab@localhost")

LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = LOGIN_URL

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-gb"
STATIC_URL = "static/"
STATIC_ROOT = DATA_ROOT / "static"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SCHEDULER_POLICY = os.environ.get("OCTOLAB_POLICY", "masking")
"""How work is packed: ``masking`` (all jobs share the devices) or ``fcfs`` (one job in the lab at a time)."""

HISTORY_DAYS = float(os.environ.get("OCTOLAB_HISTORY_DAYS", 30))
"""For how long every version of the plan, and everything that jobs were told, is kept; older ones are thinned out."""

# --- the REST API -----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "users.authentication.TokenAuthentication",
        "users.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["users.permissions.DeclaredAccess"],
    "DEFAULT_PARSER_CLASSES": ["octolab.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "octolab.api.schema.Schema",
    "EXCEPTION_HANDLER": "octolab.api.errors.to_response",
    "URL_FORMAT_OVERRIDE": None,
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "octolab",
    "DESCRIPTION": (BASE_DIR / "octolab" / "api" / "first-steps.md").read_text(encoding="utf-8"),
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "POSTPROCESSING_HOOKS": ["octolab.api.schema.describe_problems"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

# --- logging ----------------------------------------------------------------------------------------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"()": "octolab.logs.LineFormatter", "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"}
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": os.environ.get("OCTOLAB_LOG_LEVEL", "INFO")},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        "axes": {"level": "WARNING"},
        # Its own handler would print request lines once more, and unredacted.
        "django.server": {"handlers": [], "propagate": True},
    },
}

"""An installation of a fuzzer's own, in this process, with rows of several people (`tests.access`).

Importing it makes one: nothing of Django may have been imported before.
"""

import atexit
import os
import shutil
import tempfile

_directory = tempfile.mkdtemp(prefix="potok-fuzz-")
atexit.register(shutil.rmtree, _directory, ignore_errors=True)
os.environ |= {"POTOK_DATA_DIR": _directory, "DJANGO_SETTINGS_MODULE": "chat.settings"}
for _name in ("DATABASE_URL", "REDIS_URL", "POTOK_URL"):
    os.environ.pop(_name, None)

import django  # noqa: E402

django.setup()

import logging  # noqa: E402

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test.utils import setup_test_environment  # noqa: E402

setup_test_environment()
settings.STATIC_ROOT.mkdir(exist_ok=True)
# Plain addresses of what nothing has collected, and passwords that cost nothing.
settings.STORAGES["staticfiles"] = {
    "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
}
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
logging.disable(logging.ERROR)
call_command("migrate", verbosity=0)

from tests.access import World  # noqa: E402

world = World()

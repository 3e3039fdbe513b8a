"""Django settings of the Label Studio that `captionloop up` starts, for Label Studio's own interpreter.

Of two requests that have read and then write at once, SQLite refuses one ("database is locked"). Label Studio repeats
what was refused, but an import has lost its annotations and predictions by then. A transaction that takes the lock for
writing at its beginning waits instead.
"""

from django import VERSION

# Sentry, which the second module sets up, looks up names of the first in this one.
from label_studio.core.settings.base import *  # noqa: F403
from label_studio.core.settings.label_studio import *  # noqa: F403
from label_studio.core.settings.label_studio import DATABASES

if VERSION >= (5, 1) and DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {"timeout": 60, "transaction_mode": "IMMEDIATE"}

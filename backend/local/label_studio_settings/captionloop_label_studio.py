"""Django settings of the Label Studio that `captionloop up` starts: its own, with two differences.

Runs inside Label Studio's virtual environment, which has nothing of ours.
"""

from label_studio.core.settings.label_studio import *  # type: ignore[import-not-found]  # noqa: F403
from label_studio.core.settings.label_studio import (  # type: ignore[import-not-found]
    BASE_DATA_DIR,
    DATABASES,
    RQ_QUEUES,
)

# Label Studio hands its background work to any Redis that answers on localhost:6379, also when it belongs to something
# else and no worker of Label Studio listens there; then imports and storage syncs never end. Without a Redis it does
# that work at once. No variable changes these queues, so they are pointed at a socket that is not there.
for _queue in RQ_QUEUES.values():
    _queue.clear()
    _queue.update({"UNIX_SOCKET_PATH": f"{BASE_DATA_DIR}/no-redis.sock", "DB": 0})

# Writers wait for each other rather than fail after 5 s with "database is locked".
DATABASES["default"].setdefault("OPTIONS", {})["timeout"] = 30

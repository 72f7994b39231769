"""Health check of the worker container: exits 0 when the worker's metrics say that it reaches Redis."""

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_SECONDS = 4


def reaches_redis(url: str) -> bool:
    """Tells whether the worker whose metrics are at ``url`` reached Redis at its last attempt."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as reply:  # noqa: S310, the URL is ours
        lines = reply.read().decode().splitlines()
    return "gradclinic_worker_redis_up 1.0" in lines


if __name__ == "__main__":
    port = os.environ.get("GRADCLINIC_METRICS_LISTEN", ":9465").rpartition(":")[2]
    try:
        sys.exit(0 if reaches_redis(f"http://127.0.0.1:{port}/metrics") else 1)
    except urllib.error.URLError as error:
        sys.exit(f"{error}")

"""How much an executor may say: its engine keeps to it, and its supervisor, who trusts no executor, refuses more."""

from __future__ import annotations

MAX_MESSAGE_BYTES = 4 * 2**20
"""Of one message in either direction of their pipe."""

MAX_RESULT_BYTES = MAX_MESSAGE_BYTES - 2**19
"""Of a result; the rest is for its envelope, here and in the message of the API."""

"""JSON with times as RFC 3339 writes them."""

from datetime import UTC, datetime
from typing import Any

from flask.json.provider import DefaultJSONProvider


class JsonWithTimes(DefaultJSONProvider):
    """Flask's JSON, but for times; the order of keys is ours."""

    sort_keys = False

    @staticmethod
    def default(o: Any) -> Any:
        """Give *o* as something that JSON knows."""
        if isinstance(o, datetime):
            text = o.astimezone(UTC).isoformat(timespec="milliseconds")
            return text.replace("+00:00", "Z")
        return DefaultJSONProvider.default(o)

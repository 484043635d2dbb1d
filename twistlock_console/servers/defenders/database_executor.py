"""The database, as the websocket server reaches it: from threads of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Concatenate, ParamSpec, TypeVar

from bson.codec_options import CodecOptions
from pymongo.database import Database

from twistlock_console.database.client import connect, credentials_for
from twistlock_console.settings import Settings

TIMEOUT_MS = 5000
P = ParamSpec("P")
T = TypeVar("T")
Documents = Database[dict[str, Any]]


class Desk:
    """Runs functions of the database; make it in the process that uses it.

    Raises IdentityError if the database's password cannot be read.
    """

    def __init__(self, settings: Settings, threads: int = 3) -> None:
        self._client = connect(
            settings,
            credentials_for(settings, "console"),
            app_name="console-defenders",
            timeout_ms=TIMEOUT_MS,
        )
        options: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True)
        self._database = self._client.get_database("twistlock", codec_options=options)
        self._threads = ThreadPoolExecutor(threads, "database")

    async def do(
        self,
        act: Callable[Concatenate[Documents, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call *act* with the database and more; PyMongoError passes through."""

        def run() -> T:
            return act(self._database, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def close(self) -> None:
        """Wait for nothing: who stops serving has no right to write any more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

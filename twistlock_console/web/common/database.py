"""Access of a request to the database and the settings."""

import os
from collections.abc import Callable
from threading import Lock
from typing import cast

from bson.codec_options import CodecOptions
from flask import Flask, current_app

from twistlock_console.database.client import Client, Db, Document
from twistlock_console.settings import Settings

DATABASE = "twistlock"


class Storage:
    """Opens the database client of a process when a request first needs it.

    The application is built before its server forks, and a client's threads and
    sockets do not survive a fork, so each process has its own client. All request
    threads share it; a lock guards its creation.
    """

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._pid = 0
        self._lock = Lock()

    def database(self) -> Db:
        """Return the Console's database; it returns times with their zone."""
        with self._lock:
            if self._client is None or self._pid != os.getpid():
                self._client = self._connect()
                self._pid = os.getpid()
            client = self._client
        options: CodecOptions[Document] = CodecOptions(tz_aware=True)
        return client.get_database(DATABASE, codec_options=options)

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None


def database() -> Db:
    """Return the database of the application that answers this request."""
    return storage_of(current_app).database()


def storage_of(app: Flask) -> Storage:
    """Return the application's one Storage."""
    return cast(Storage, app.extensions["storage"])


def current_settings() -> Settings:
    """Return the settings of the application that answers this request."""
    return cast(Settings, current_app.extensions["settings"])

"""Read what mongod wrote in one run."""

from twistlock_console.common.log_rotation import file_size
from twistlock_console.database.last_words import why_it_ended
from twistlock_console.database.options import LOG
from twistlock_console.settings import Folders

#: Enough for a fatal line and the stack trace after it.
TAIL_BYTES = 512 * 1024


class RunLog:
    """The log of mongod from where a run began; *output* is what came before it."""

    def __init__(self, folders: Folders) -> None:
        self.path = folders.log / LOG
        self.output = folders.log / "mongod.out"
        self._begin = file_size(self.path)

    def reason(self, code: int) -> str:
        """Say why the run ended with exit *code*, as a sentence."""
        try:
            lines = self._tail().decode(errors="replace").splitlines()
            output = self.output.read_text(errors="replace")
        except OSError as error:
            return f"mongod ended with code {code}; its log: {error.strerror}"
        return why_it_ended(code, lines, output)

    def _tail(self) -> bytes:
        size = file_size(self.path)
        # Shorter than at the beginning: it was rotated meanwhile.
        begin = self._begin if self._begin <= size else 0
        if not size:
            return b""
        with self.path.open("rb") as file:
            file.seek(max(begin, size - TAIL_BYTES))
            return file.read()

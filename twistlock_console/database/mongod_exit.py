"""Find the reason why mongod ended in its log, as a sentence for an operator. Pure."""

import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence

from twistlock_console.common.json_members import load_json
from twistlock_console.common.one_line import one_line

#: Earlier errors are not the reason why mongod ended.
MAX_LINES = 20
MAX_LINE_CHARACTERS = 300
#: With the advice.
MAX_REASON_CHARACTERS = 800
#: The id of a line that is logged as information, though it is why the start failed.
KEYFILE_UNREADABLE = 20254
#: The id of a line that carries a message of WiredTiger, the storage engine.
STORAGE_ENGINE = 22435
#: The id of a line that announces a fatal signal without a reason.
FATAL_SIGNAL = 6384300
#: A line with this text follows the line with the reason, and adds nothing.
ABORTING = "***aborting after"
#: The place in WiredTiger's code that a message comes from.
_PLACE = re.compile(r"^__\w+:\d+:")

ANOTHER_VERSION = (
    "the data files were written by another version of MongoDB; set MONGOD_BINARY to "
    "that version, and go from 6 to 7 to 8 one version at a time (docs/upgrade.md)"
)
DAMAGED = (
    "the data files are damaged or incomplete; remove the node and let it join again, "
    "or restore a backup"
)
NOT_PERMITTED = (
    "it may not use one of its files; give all in the data folder to the account that "
    "runs the Console (chown)"
)

#: Advice by a text in mongod's message. The first match counts: refusals of the
#: operating system come before the errors that follow from them.
ADVICE = (
    (
        "Address already in use",
        "another program has its port; stop that one, or change DATABASE_PORT",
    ),
    (
        "Cannot assign requested address",
        "this host does not have the address; correct NODE_ADDRESS",
    ),
    (
        "are too open",
        "the keyfile is open to others; make it readable for its owner alone "
        "(chmod 600)",
    ),
    ("Another mongod instance", "another mongod uses the same data folder; end it"),
    ("No space left on device", "the disk is full; free some space"),
    ("Disk quota exceeded", "the disk quota is used up; free some space or raise it"),
    ("Permission denied", NOT_PERMITTED),
    ("Operation not permitted", NOT_PERMITTED),
    ("read-only directory", NOT_PERMITTED),
    ("Read-only file system", "the disk became read-only; check the disk"),
    ("Input/output error", "the disk fails; replace it and let the node join again"),
    (
        "Too many open files",
        "it may not open enough files; raise the limit (LimitNOFILE of the unit)",
    ),
    (
        "NonExistentPath",
        "the folder of the database is not there; see that its disk is mounted",
    ),
    (
        "InvalidSSLConfiguration",
        "its certificate cannot be used; check the certificates folder",
    ),
    ("featureCompatibilityVersion", ANOTHER_VERSION),
    ("feature compatibility version", ANOTHER_VERSION),
    ("unsupported WiredTiger file version", ANOTHER_VERSION),
    ("Version incompatibility", ANOTHER_VERSION),
    ("isVersionInitialized", ANOTHER_VERSION),
    ("unknown configuration key", ANOTHER_VERSION),
    ("corruption", DAMAGED),
    ("fatal read error", DAMAGED),
    ("WT_PANIC", DAMAGED),
    ("WT_ERROR", DAMAGED),
    ("WT_NOTFOUND", DAMAGED),
    ("WT_TRY_SALVAGE", DAMAGED),
    ("Error parsing", DAMAGED),
    ("handle-open", DAMAGED),
    ("CursorNotFound", DAMAGED),
    ("storage engine metadata", DAMAGED),
    ("--repair", DAMAGED),
)

#: Signals that need no line of the log.
SIGNALS: Mapping[int, str] = {
    signal.SIGKILL: (
        "mongod was killed, by someone or because the host ran out of memory"
    ),
    signal.SIGILL: (
        "mongod was ended by signal 4: this processor lacks instructions that MongoDB "
        "needs (AVX); use another host"
    ),
}


def exit_reason(code: int, log: Iterable[str], output: str) -> str:
    """Return why mongod ended, as a sentence.

    Args:
        code: the exit code; negative for the signal that ended the process.
        log: the log lines of this run; lines that are not JSON are skipped.
        output: what the process wrote to standard output and standard error.

    """
    return one_line(_exit_reason(code, log, output), MAX_REASON_CHARACTERS)


def _exit_reason(code: int, log: Iterable[str], output: str) -> str:
    if code == 0:
        return "mongod ended because another process stopped it"
    if code < 0 and (known := SIGNALS.get(-code)):
        return known
    words = list(_error_texts(log))[-MAX_LINES:]
    if advised := _find_advice(words):
        return f"mongod ended: {advised}"
    if words:
        return f"mongod ended with code {code}: {words[-1]}"
    if code < 0:
        return f"mongod was ended by signal {-code}"
    first = next((line for line in output.splitlines() if line.strip()), "no output")
    return f"mongod ended with code {code}: {first.strip()[:MAX_LINE_CHARACTERS]}"


def start_failure_reason(sentence: str) -> str:
    """Return why mongod could not be started, from the error that prevented it."""
    advised = _find_advice([sentence]) or sentence
    return one_line(f"mongod cannot be started: {advised}", MAX_REASON_CHARACTERS)


def _find_advice(words: Sequence[str]) -> str | None:
    for piece, advice in ADVICE:
        fitting = (word for word in words if piece.lower() in word.lower())
        if telling := next(fitting, None):
            return f"{advice}: {telling}"
    return None


def _error_texts(log: Iterable[str]) -> Iterator[str]:
    """Yield the text of each line that is an error and has a text."""
    for line in log:
        try:
            entry = load_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and _is_error(entry) and (text := _text(entry)):
            yield text


def _is_error(entry: Mapping[str, object]) -> bool:
    number = entry.get("id")
    if number == KEYFILE_UNREADABLE:
        return True
    is_banner = number == FATAL_SIGNAL or ABORTING in str(entry.get("msg"))
    return entry.get("s") in ("E", "F") and not is_banner


def _text(entry: Mapping[str, object]) -> str:
    """Return the line's message with the values of its attributes, shortened.

    Return "" for a line that only reports that there is an error, or shows bytes of a
    file.
    """
    attributes = entry.get("attr", {})
    message = str(entry.get("msg", "")).strip()
    if entry.get("id") == STORAGE_ENGINE and isinstance(attributes, dict):
        return _storage_engine_text(attributes)
    has_error = isinstance(attributes, Mapping) and "error" in attributes
    if message == "Fatal assertion" and not has_error:
        return ""
    values = " ".join(_values(attributes))
    text = f"{message} ({values})" if values else message
    return " ".join(text.split())[:MAX_LINE_CHARACTERS]


def _storage_engine_text(attributes: Mapping[str, object]) -> str:
    message = attributes.get("message")
    if not isinstance(message, dict):
        return " ".join(_values(attributes))[:MAX_LINE_CHARACTERS]
    if attributes.get("error") == 0:
        return ""
    text = _PLACE.sub("", str(message.get("msg", "")))
    error = str(message.get("error_str", ""))
    # Shorten the message, never the error after it.
    remaining = MAX_LINE_CHARACTERS - len(error) - 2
    return ": ".join(filter(None, (" ".join(text.split())[:remaining], error)))


def _values(attribute: object) -> Iterator[str]:
    if isinstance(attribute, dict):
        for value in attribute.values():
            yield from _values(value)
    elif isinstance(attribute, str):
        yield attribute

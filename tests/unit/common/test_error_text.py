"""What people read of an error: plain words, and never the text of an exception."""

import ast
import errno
import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import urllib3
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    ExecutionTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from twistlock_console.common.error_text import UNEXPECTED, describe_error
from twistlock_console.common.errors import Refused
from twistlock_console.pki.authority import create_authority
from twistlock_console.pki.certificates import issue_node_certificate

REPOSITORY = Path(__file__).parents[3]
#: What the installer runs answers it alone, in the administrator's terminal.
INSTALLER = ("twistlock_console/host_folders/", "twistlock_console/installation/")
#: Where the text of an exception is our own, written where it is raised.
OURS = {
    "twistlock_console/certificate_renewal/names.py": "ValueError of settings.parsers",
    "twistlock_console/settings/loading.py": "ValueError of settings.parsers",
    "twistlock_console/node_api/server.py": "goes to the log alone",
    "twistlock_console/plugins.py": "for who installs a plugin, at the start",
    "twistlock_console/defenders/enrolment.py": "ValueError of its own",
}


@contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port on which *answer* deals with the one connection that comes."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(60)


def failure_of(url: str, **options: object) -> Exception:
    """The exception that urllib3 raises for *url*."""
    with (
        urllib3.PoolManager(retries=False, timeout=0.3, **options) as pool,
        pytest.raises((urllib3.exceptions.HTTPError, ValueError)) as raised,
    ):
        pool.request("GET", url)
    return raised.value


def wait_for_end(connection: socket.socket) -> None:
    connection.settimeout(5)
    with suppress(OSError):
        while connection.recv(1024):
            pass


def speak_of_mail(connection: socket.socket) -> None:
    connection.sendall(b"220 mail\r\n")
    wait_for_end(connection)


@pytest.mark.parametrize(
    ("scheme", "answer", "words"),
    [
        pytest.param("http", wait_for_end, "no answer came in time", id="silent"),
        pytest.param(
            "http", speak_of_mail, "the answer cannot be understood", id="no-http"
        ),
        pytest.param(
            "https", speak_of_mail, "no TLS connection could be made", id="no-tls"
        ),
        pytest.param("http", socket.socket.close, "it ended the connection", id="end"),
    ],
)
def test_a_failed_request_is_described(
    scheme: str, answer: Callable[[socket.socket], None], words: str
) -> None:
    """Each way in which another host fails to answer has its words."""
    with answering(answer) as port:
        failure = failure_of(f"{scheme}://127.0.0.1:{port}/")

    assert describe_error(failure) == words


def test_a_refused_connection_is_described() -> None:
    """Nothing listens on the port."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        failure = failure_of(f"http://127.0.0.1:{bound.getsockname()[1]}/")

    assert describe_error(failure) == "it refuses connections"


def test_a_certificate_that_is_not_accepted_is_described(tmp_path: Path) -> None:
    """With OpenSSL's reason, which an administrator can look up."""
    create_authority(tmp_path)
    issue_node_certificate(tmp_path, ["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "node.pem", tmp_path / "node-key.pem")

    def answer(connection: socket.socket) -> None:
        with suppress(OSError):
            context.wrap_socket(connection, server_side=True)

    with answering(answer) as port:
        failure = failure_of(f"https://127.0.0.1:{port}/")

    assert describe_error(failure).startswith("its certificate is not accepted: ")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refused("our own sentence"), "our own sentence"),
        (OSError(errno.ENOSPC, "x", "/a/b"), "no space left on device"),
        (PermissionError(errno.EACCES, "x", "/a"), "permission denied"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "its name is not known"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "its name cannot be looked up now"),
        (TimeoutError("timed out"), "no answer came in time"),
        (EOFError(), "it ended before it was done"),
        (http.client.BadStatusLine("x"), "the answer cannot be understood"),
        (
            urllib3.exceptions.LocationParseError("http://x/secret"),
            "its address cannot be used",
        ),
        (AutoReconnect("10.0.0.1:27017: [Errno 111]"), "the database does not answer"),
        (ServerSelectionTimeoutError("x"), "the database does not answer"),
        (ExecutionTimeout("x", 50), "the database does not answer"),
        (NotPrimaryError("x"), "the database of this node is not the primary"),
        (
            OperationFailure(
                "x, full error: {'ok': 0}", 13, {"errmsg": "not\n allowed"}
            ),
            "the database refused it: not allowed",
        ),
        (OperationFailure("x", 13), "the database refused it: error 13"),
        (PyMongoError("<object at 0x7f>"), "the database does not answer"),
    ],
)
def test_an_error_is_described(error: Exception, words: str) -> None:
    """In words of an operator, without names of classes, paths or addresses."""
    assert describe_error(error) == words


@pytest.mark.parametrize(
    "error", [KeyError("x"), OSError("no number"), DuplicateKeyError("{'_id': 'x'}")]
)
def test_what_has_no_words_is_in_the_log(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The sentence points to the log, so the log has the details."""
    with caplog.at_level(logging.ERROR):
        words = describe_error(error)

    assert words == UNEXPECTED or words.endswith("the log of this node says why")
    assert str(error) in caplog.text


def _trees() -> dict[str, ast.Module]:
    """The modules of the Console and its plugins, by their path."""
    return {
        str(path.relative_to(REPOSITORY)): ast.parse(path.read_text())
        for folder in ("twistlock_console", "plugins")
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
    }


def _ours(trees: Iterable[ast.Module]) -> set[str]:
    """The names of our own errors, whose text is a sentence."""
    classes = [
        node for tree in trees for node in ast.walk(tree) if type(node) is ast.ClassDef
    ]
    found = {"ConsoleError", "ProtocolError", "RepeatedMember", "BadRequest"}
    while added := {
        each.name
        for each in classes
        if each.name not in found and found & {ast.unparse(b) for b in each.bases}
    }:
        found |= added
    return found


def _caught(handler: ast.ExceptHandler) -> set[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {ast.unparse(kind).rpartition(".")[2] for kind in kinds if kind}


def _shows(node: ast.AST, name: str) -> Iterator[int]:
    """Lines that use the text of the exception *name*, other than for logging."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
        return
    text = isinstance(node, ast.FormattedValue) and ast.unparse(node.value) == name
    if text or (isinstance(node, ast.Call) and ast.unparse(node) == f"str({name})"):
        yield getattr(node, "lineno", 0)
    for child in ast.iter_child_nodes(node):
        yield from _shows(child, name)


def test_no_module_shows_the_text_of_a_foreign_exception() -> None:
    """A page, an answer, an alert and the history get words, not Python's text."""
    trees = _trees()
    ours = _ours(trees.values())

    found = [
        f"{where}:{line}"
        for where, tree in trees.items()
        if where not in OURS and not where.startswith(INSTALLER)
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler) and handler.name
        if not _caught(handler) <= ours
        for statement in handler.body
        for line in _shows(statement, handler.name)
    ]

    assert {"TooManyFailures", "NotDelivered", "DatabaseError"} <= ours
    assert not found, "\n".join(found)

"""Why mongod ended, told from lines that real ones wrote."""

import json

import pytest

from twistlock_console.database.last_words import why_it_ended

ABORTING = [
    {"s": "F", "id": 23089, "msg": "Fatal assertion", "attr": {"msgid": 31339}},
    {"s": "F", "id": 23090, "msg": "\n\n***aborting after fassert() failure\n\n"},
    {"s": "F", "id": 6384300, "msg": "Writing fatal message", "attr": {"message": "6"}},
    {"s": "I", "id": 31445, "msg": "Frame", "attr": {"frame": {"a": "55F5"}}},
]
PORT = {
    "s": "F",
    "id": 31339,
    "msg": "Error listening for new connections on listen address",
    "attr": {"listenAddrs": "127.0.0.1:28101", "error": "Address already in use"},
}
KEYFILE = [
    {
        "s": "I",
        "id": 20254,
        "msg": "Read security file failed",
        "attr": {"error": {"errmsg": "permissions on /data/key are too open"}},
    },
    {
        "s": "F",
        "id": 20575,
        "msg": "Error creating service context",
        "attr": {"error": "Location5579201: Unable to acquire security key[s]"},
    },
]
DAMAGED = {
    "s": "E",
    "id": 22435,
    "msg": "WiredTiger error message",
    "attr": {"error": -31809, "message": {"error_str": "database corruption detected"}},
}
UNKNOWN = {"s": "E", "id": 1, "msg": "Something new", "attr": {"error": "odd"}}


@pytest.mark.parametrize(
    ("lines", "code", "said"),
    [
        pytest.param([PORT, *ABORTING], -6, "another program has its port", id="port"),
        pytest.param(KEYFILE, 1, "the keyfile is open to others", id="keyfile"),
        pytest.param([DAMAGED, *ABORTING], -6, "data files are damaged", id="damaged"),
        pytest.param(
            [UNKNOWN, *ABORTING], 14, "with code 14: Something new (odd)", id="unknown"
        ),
        pytest.param([PORT], -9, "mongod was killed", id="killed"),
        pytest.param([UNKNOWN], 0, "something told it to", id="asked"),
        pytest.param(ABORTING, -11, "was ended by signal 11", id="crashed"),
        pytest.param([], 2, "with code 2: Unrecognized option: x", id="before-its-log"),
    ],
)
def test_the_reason_is_one_sentence(
    lines: list[dict[str, object]], code: int, said: str
) -> None:
    """The line that tells is found among those that only say that all is lost."""
    log = ["", "no JSON", *(json.dumps(line) for line in lines)]

    reason = why_it_ended(code, log, "\nUnrecognized option: x\ntry --help\n")

    assert said in reason
    assert "\n" not in reason

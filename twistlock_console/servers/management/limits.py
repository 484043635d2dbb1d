"""Limits of the management server; docs/security.md lists them for operators."""

THREADS = 16
#: Threads that one client address may use at a time; trusted proxies may use all.
MAX_THREADS_PER_ADDRESS = 12
#: Threads for bodies that are read while the request runs: uploads of backups.
UPLOAD_THREADS = 2
MAX_WAITING_UPLOADS = 8
#: Threads for logins. They are more than the logins that wait there for the hash of a
#: password (`passwords.LOGIN_PLACES`), so that one that needs no hash is answered.
LOGIN_THREADS = 112
#: Logins that wait for one of these threads, and how long.
MAX_WAITING_LOGINS = 256
LOGIN_QUEUE_TIMEOUT_S = 15.0
#: Requests that wait for a thread.
MAX_WAITING = 1024
MAX_WAITING_PER_ADDRESS = 128

MAX_CONNECTIONS = 4096
MAX_CONNECTIONS_PER_ADDRESS = 256

MAX_HEAD_BYTES = 64 * 1024
#: The largest body that is kept in memory; longer ones are read by an upload thread.
MAX_GATHERED_BODY_BYTES = 1024 * 1024
#: Bytes of requests that have not arrived completely.
MAX_BUFFERED_BYTES = 48 * 1024 * 1024
MAX_BUFFERED_BYTES_PER_ADDRESS = 20 * 1024 * 1024

HANDSHAKE_TIMEOUT_S = 10.0
#: From the first byte of a request to the last of its head and its body.
REQUEST_TIMEOUT_S = 10.0
#: Bodies above MAX_OPEN_BODY_BYTES have longer: this rate is required of them.
MIN_RECEIVE_RATE_BPS = 32 * 1024
#: An upload that falls behind that rate for longer is refused.
UPLOAD_STALL_TIMEOUT_S = 15.0
KEEPALIVE_TIMEOUT_S = 30.0
QUEUE_TIMEOUT_S = 30.0
#: A client may fall behind this rate, over any span of SEND_STALL_TIMEOUT_S.
MIN_SEND_RATE_BPS = 4 * 1024
SEND_STALL_TIMEOUT_S = 30.0
#: How long a client may go on sending after the last answer, so that it can read it.
LINGER_TIMEOUT_S = 2.0
MAX_LINGER_BYTES = 1024 * 1024

#: Backpressure: an answer is produced up to the first, again below the second.
OUTPUT_HIGH_BYTES = 256 * 1024
OUTPUT_LOW_BYTES = 64 * 1024

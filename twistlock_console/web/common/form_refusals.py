"""The sentence for a form that Flask-WTF refused: why, and what to do about it."""

from urllib.parse import urlsplit

OUT_OF_DATE = "this form is out of date; open the page again and repeat"
NO_COOKIE = (
    "the session cookie of this form did not arrive; open the page again and repeat. "
    "If it happens again, the browser refuses the cookies of this site, or a proxy in "
    "front of the Console removes them"
)
NO_REFERRER = (
    "the Referer header is missing, which tells that a form comes from the Console's "
    "own pages; a proxy in front of the Console or a setting of the browser removes "
    "it. Have it passed on for this site"
)


def explain_csrf_error(reason: str, host: str, referrer: str) -> str:
    """Return what to tell a person whose form was refused.

    *reason* is the description of Flask-WTF's CSRFError, *host* the host that the
    request names as it arrived, and *referrer* the address of the page with the form,
    as the browser knows it.
    """
    match reason:
        case "The CSRF session token is missing.":
            return NO_COOKIE
        case "The referrer header is missing.":
            return NO_REFERRER
        case "The referrer does not match the host.":
            return _explain_other_host(host, referrer)
        case _:
            return OUT_OF_DATE


def _explain_other_host(host: str, referrer: str) -> str:
    parts = urlsplit(referrer)
    if parts.scheme == "http":
        return (
            f"the browser opened {parts.netloc} with http, and a proxy in front of "
            "the Console made https of it; open the pages with https://"
        )
    return (
        f"the browser opened {parts.netloc}, and the Console was asked as {host}: a "
        "proxy in front of it changes the Host header. Have the proxy pass the header "
        "on with its port (nginx: proxy_set_header Host $http_host;), or open the "
        f"pages under https://{host}"
    )

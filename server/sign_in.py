"""Signing in with a browser: a form for the API key, and a cookie that stands for the key. It needs no script and no other file.

The cookie holds its expiry and an HMAC of that under the key. It tells nothing of the key, is valid in every web process and after a
restart, and becomes invalid when the key changes.
"""

import base64
import hashlib
import hmac
import time
from html import escape

from starlette.responses import HTMLResponse, RedirectResponse, Response

COOKIE = "session"
#: Seconds after which a browser has to sign in again.
HOLDS = 7 * 24 * 3600

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { display: grid; min-height: 90vh; place-content: center; margin: 1rem;
  background: light-dark(#f3f3f3, #141414); color: light-dark(#161616, #ededed); }
form { display: grid; gap: .7rem; width: min(22rem, calc(100vw - 5.5rem)); padding: 1.75rem; border-radius: 14px;
  background: light-dark(#fff, #1c1c1c); border: 1px solid light-dark(#dcdcdc, #333); }
h1 { font-size: 1.25rem; letter-spacing: -.01em; margin: 0; }
p { margin: 0 0 .5rem; color: light-dark(#5a5a5a, #a6a6a6); }
label { font-weight: 600; font-size: .9rem; }
input, button { font: inherit; padding: .6rem .75rem; border-radius: 8px; border: 1px solid light-dark(#8a8a8a, #757575); }
input { background: light-dark(#f3f3f3, #141414); color: inherit; }
button { cursor: pointer; font-weight: 600; border-color: transparent;
  background: light-dark(#0a58ca, #8ab8ff); color: light-dark(#fff, #0d1b2e); }
:focus-visible { outline: 2px solid light-dark(#0a58ca, #8ab8ff); outline-offset: 2px; }
"""
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def _mac(key: str, ends: str) -> str:
    return hmac.new(key.encode(), f"session until {ends}".encode(), hashlib.sha256).hexdigest()


def cookie(key: str, now: float) -> str:
    """A session's value, good for `HOLDS` seconds from `now` (seconds since the epoch)."""
    ends = str(int(now + HOLDS))
    return f"{ends}.{_mac(key, ends)}"


def is_key(given: str, key: str) -> bool:
    """Whether the two are equal; the time that it takes does not tell where they differ."""
    return hmac.compare_digest(given.encode(), key.encode())


def is_session(value: str, key: str, now: float) -> bool:
    """Whether the value was made with this key and has not ended."""
    ends, _, mac = value.partition(".")
    return hmac.compare_digest(mac.encode(), _mac(key, ends).encode()) and ends.isdecimal() and now < int(ends)


def page(sentence: str) -> Response:
    """The form, as the answer to a browser that is not signed in."""
    text = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Vehicle to vector</title>
<style>{_STYLE}</style>
</head>
<body>
<main><form method="post" action="/">
<h1>Vehicle to vector</h1>
<p role="status">{escape(sentence)}</p>
<input type="text" name="user" value="api-key" autocomplete="username" hidden>
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Sign in</button>
</form></main>
</body>
</html>
"""
    # the referrer policy decides whether the form's own request says where it came from
    headers = {
        "Content-Security-Policy": _POLICY,
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "WWW-Authenticate": "Bearer",
    }
    return HTMLResponse(text, 401, headers)


def signed_in(key: str, *, secure: bool) -> Response:
    """Back to the page, with the cookie. `secure`: the browser speaks https, and never sends the cookie without it."""
    response = RedirectResponse("/", 303, headers={"Cache-Control": "no-store"})
    response.set_cookie(COOKIE, cookie(key, time.time()), max_age=HOLDS, httponly=True, samesite="strict", secure=secure)
    return response

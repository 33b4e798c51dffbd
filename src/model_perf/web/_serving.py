"""The HTTP API and the dashboard as an application of their own, for people who have none to mount them in."""

from __future__ import annotations

from hmac import compare_digest
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen
from fastapi import FastAPI, Request, Response
from starlette.responses import RedirectResponse

from model_perf import ModelPerformanceTracker
from model_perf.web._problems import problem
from model_perf.web.dashboard import create_dashboard
from model_perf.web.router import create_router

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

API = "/api/v1/model-performance"
PAGE = "/model-performance"


def create_app(
    tracker: ModelPerformanceTracker, *, token: str | None = None, write: bool = False, is_loopback: bool = True
) -> ASGIApp:
    """The routes and the page of one tracker, guarded.

    Parameters
    ----------
    token : str, optional
        What requests to the API bring as ``Authorization: Bearer ...``.
    write : bool
        Carry out what changes something.
    is_loopback : bool
        It listens on an address that this machine alone reaches.
    """
    app = FastAPI(title="model_perf", docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(create_router(tracker, allow_anonymous=True), prefix=API)
    for path in ("/", PAGE):  # relative, so that no proxy's host or prefix is lost
        app.add_route(path, lambda request: RedirectResponse(f"{PAGE.removeprefix('/')}/"), methods=["GET"])
    app.mount(PAGE, create_dashboard(api=f"..{API}", read_only=not write))
    return _Guard(app, token, write, is_loopback)


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine, for everybody who asks."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@frozen
class _Guard:
    """Lets through who may. The page's files are public: they show nothing before the API has let their reader in."""

    app: ASGIApp
    token: str | None
    write: bool
    is_loopback: bool

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refuse(Request(scope)) if scope["type"] == "http" else None
        await (self.app if refusal is None else refusal)(scope, receive, send)

    def _refuse(self, request: Request) -> Response | None:
        # Whoever has the token may come by any name, as through a proxy: a page elsewhere does not have it.
        if self.is_loopback and self.token is None and not is_loopback(_name(request)):
            text = "this server answers to localhost, 127.0.0.1 and [::1]; to reach it by another name give it a token"
            return problem(HTTPStatus.BAD_REQUEST, "host", text)
        path = request.scope["path"]  # which is routed; `request.url` is what the header Host makes of it
        if path in ("/", PAGE) or path.startswith(f"{PAGE}/"):
            return None
        if _is_from_elsewhere(request):
            text = "a page of another origin asks; open the dashboard at this server's own address"
            return problem(HTTPStatus.FORBIDDEN, "cross_origin", text)
        if not self._has_token(request):
            text = "give this server's token, as Authorization: Bearer TOKEN"
            return problem(HTTPStatus.UNAUTHORIZED, "token", text, headers={"www-authenticate": "Bearer"})
        if not self.write and request.method not in ("GET", "HEAD"):
            text = "this server is read-only; start it with --write to let it change something"
            return problem(HTTPStatus.FORBIDDEN, "read_only", text)
        return None

    def _has_token(self, request: Request) -> bool:
        if self.token is None:
            return True
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and compare_digest(given.strip().encode(), self.token.encode())


def _name(request: Request) -> str:
    """What the request calls this server, without the port."""
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_from_elsewhere(request: Request) -> bool:
    """Browsers say it in a header that no page can set; where they do not, the origin tells."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site not in ("same-origin", "none")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")

"""The dashboard: static files that call the HTTP API, as an application that a host mounts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from attrs import frozen
from starlette.responses import Response

from model_perf import InvalidInputError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from starlette.types import ASGIApp, Receive, Scope, Send

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'; object-src 'none'"
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    # Kept, and asked for again each time: after an upgrade no module of before meets one of after.
    "cache-control": "no-cache",
}
KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}
PAGE = "index.html"


@frozen
class _File:
    """A file as it is sent. The tag is of its content: times and sizes of files stay the same in some installations."""

    content: bytes
    media_type: str

    @property
    def tag(self) -> str:
        return f'"{sha256(self.content).hexdigest()[:32]}"'


def create_dashboard(api: str = "../api/v1/model-performance", *, read_only: bool = False) -> ASGIApp:
    """The dashboard, for ``app.mount("/model-performance", create_dashboard())``.

    The page is public, and shows nothing by itself: what it asks the API for goes with the browser's cookies of the
    host, or with a token that its user gives.

    Parameters
    ----------
    api : str
        Where `create_router` was included: relative to the page, which makes it right behind any prefix, or a path
        from the root.
    read_only : bool
        Leaves out the buttons that change something. The API decides who may: see ``write_dependencies`` of
        `create_router`.

    Raises
    ------
    InvalidInputError
        *api* names a scheme or a host: the page's policy lets it talk to its own origin only.
    """
    parts = urlsplit(api) if isinstance(api, str) else None
    if parts is None or not api.strip() or parts.scheme or parts.netloc or parts.query or parts.fragment:
        raise InvalidInputError(
            "api", f"{api!r} is not a path of this origin; give one as in '../api/v1/model-performance'"
        )
    known = dict(_read_files())
    page = known[PAGE].content.decode().replace("{read_only}", "yes" if read_only else "no")
    known[PAGE] = known[""] = _File(page.replace("{api}", escape(api)).encode(), KINDS[".html"])
    return _Dashboard(known)


@frozen
class _Dashboard:
    """Answers GET and HEAD of the files; `starlette.staticfiles` tells versions apart by time and size only.

    A word that is no file may be the mount itself without the slash that relative addresses need, where the host routes
    it here: it is redirected, relative to the address that the browser knows, whatever a proxy has cut off.
    """

    files: Mapping[str, _File]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the dashboard answers HTTP, not {scope['type']}")
        await self._answer(scope)(scope, receive, send)

    def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in ("GET", "HEAD"):
            return _plain(405, {"allow": "GET, HEAD"})
        path = _path_below(scope)
        found = self.files.get(path)
        if found is None or (path == "" and not scope["path"].endswith("/")):
            is_short = "/" not in path and "." not in path
            # Escaped: a header takes latin-1 without line breaks, and no word of it leads to another origin.
            word = quote(scope["path"].rpartition("/")[2], safe="")
            return _plain(307, {"location": f"{word}/"}) if is_short else _plain(404)
        headers = HEADERS | {"etag": found.tag}
        if found.tag in _tags(scope):
            return Response(status_code=304, headers=headers)
        return Response(found.content, headers=headers, media_type=found.media_type)


def _path_below(scope: Scope) -> str:
    """What is asked for below the mount; older releases of starlette cut the mount off themselves."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return (path.removeprefix(root) if path == root or path.startswith(f"{root}/") else path).removeprefix("/")


def _tags(scope: Scope) -> set[str]:
    given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"if-none-match"]
    return {tag.strip().removeprefix("W/") for value in given for tag in value.split(",")}


def _plain(status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status_code=status, headers={**HEADERS, **(headers or {})})


@cache
def _read_files() -> Mapping[str, _File]:
    """The files of the wheel by their paths."""
    found: dict[str, _File] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            else:
                kind = KINDS.get(f".{entry.name.rpartition('.')[2]}", "text/plain")
                found[prefix + entry.name] = _File(entry.read_bytes(), kind)

    walk(files("model_perf.web").joinpath("static"), "")
    return found

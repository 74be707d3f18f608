"""The page's web application: one page, suggestions for two fields, static files; nothing comes from elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from polytask.client import Explanation
from polytask.errors import RequestError
from polytask.presentation.style_sheet import STYLE_SHEET
from serving.console.directory import Directory, Person
from serving.console.explanation import ExplainerClient, reasons, title
from serving.console.page import slate_rows, sliders, stages, task_views
from serving.console.service import Reply, Service, Trouble
from serving.console.state import View, read_view

HOSTS = ["127.0.0.1", "localhost", "[::1]"]
STATIC = Path(__file__).parent / "static"
# No script, style, font, picture or connection but our own; styles in attributes count as foreign, so bars are SVG.
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class Console:
    """What the page needs: users and items to pick from, one recommender, and optionally a second to compare it with.

    `checksum` is that of the contract whose catalogues the page shows; a response of another contract is marked.
    """

    directory: Directory
    service: Service
    other: Service | None = None
    checksum: str = ""
    explainer: ExplainerClient | None = None


def build_app(console: Console) -> Starlette:
    """The application. Requests must name this machine as their host: a page elsewhere cannot reach it by a trick."""
    templates = Environment(
        loader=PackageLoader("serving.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = templates.get_template("page.html")

    async def page(request: Request) -> Response:
        scenario = console.directory.scenario
        tasks = [task.name for task in scenario.tasks]
        fields = [name for choice in console.directory.choices for name in choice.fields]
        view = read_view(request.query_params.multi_items(), tasks, scenario.features.context, fields)
        content = await gather(console, view)
        reply = content["reply"]
        headers = {} if reply is None else {"server-timing": f"recommender;dur={reply.milliseconds:.1f}"}
        return HTMLResponse(template.render(content), headers=headers)

    async def suggest(request: Request) -> Response:
        things = console.directory.suggest(request.path_params["name"], request.query_params.get("text", "")[:200])
        return JSONResponse([{"id": thing.id, "title": thing.title, "about": thing.about} for thing in things])

    async def look(request: Request) -> Response:
        return FileResponse(STYLE_SHEET, media_type="text/css")

    routes = [
        Route("/", page),
        Route("/suggest/{name}", suggest),
        Route("/page.css", look),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return Starlette(
        routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS), Middleware(_Headers)]
    )


async def gather(console: Console, view: View) -> dict[str, Any]:
    """Call all services concurrently and collect the values that the template shows."""
    found: dict[str, Any] = {"person": None, "first": None, "second": None, "why": None}

    async def run(name: str, work: Any, *arguments: Any) -> None:
        found[name] = await anyio.to_thread.run_sync(work, *arguments)

    async with anyio.create_task_group() as group:
        group.start_soon(run, "person", _person, console.directory, view)
        group.start_soon(run, "first", console.service.send_request, view, console.directory)
        if console.other is not None and view.compare:
            group.start_soon(run, "second", console.other.send_request, view, console.directory)
        if console.explainer is not None and (view.why or view.targets):
            group.start_soon(run, "why", console.explainer.explain, view, console.directory)
    first, second, person, why = found["first"], found["second"], found["person"], found["why"]
    reply = first if isinstance(first, Reply) else None
    other = second if isinstance(second, Reply) else None
    directory = console.directory
    key = view.user or (person.user.id if person is not None else "")
    return {
        "scenario": directory.scenario,
        "view": view,
        "person": person,
        "user": key,
        "another": directory.another_user(directory.user_key(key)) if person is not None else "",
        "recent": [(text, _named(directory, "recent", text)) for text in view.recent],
        "less": [(text, _named(directory, "less", text)) for text in view.less],
        "trouble": first if isinstance(first, Trouble) else None,
        "other_trouble": second if isinstance(second, Trouble) else None,
        "reply": reply,
        "other": other,
        "why_trouble": why if isinstance(why, Trouble) else None,
        "why": {name: (title(task), reasons(task, directory.scenario.text)) for name, task in why.tasks.items()}
        if isinstance(why, Explanation)
        else {},
        "choices": directory.choices,
        "can_explain": console.explainer is not None,
        "can_compare": console.other is not None,
        "address": console.service.address,
        "other_address": console.other.address if console.other is not None else "",
        "tasks": [] if reply is None else task_views(directory, view, reply, other),
        "outdated": reply is not None and bool(console.checksum) and reply.answer.contract_checksum != console.checksum,
        "stages": [] if reply is None else stages(reply),
        "slate": [] if reply is None else slate_rows(directory, reply.answer),
        "sliders": sliders(directory, view, reply),
    }


def _person(directory: Directory, view: View) -> Person | None:
    """What is known about the user; None where the field holds no key: the recommender's error reports that."""
    try:
        return directory.person(directory.user_key(view.user))
    except RequestError:
        return None


def _named(directory: Directory, field_name: str, text: str) -> str:
    try:
        return directory.item(directory.item_key(field_name, text)).title
    except RequestError:
        return text


class _Headers:
    """Adds the security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)

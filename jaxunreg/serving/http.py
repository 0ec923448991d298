"""The service over HTTP: an ASGI application."""

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

import anyio
import numpy as np
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from jaxunreg.datasets.folders.from_bytes import image_from_bytes
from jaxunreg.datasets.folders.unusable import ImageFileError
from jaxunreg.errors import ArgumentError, ArgumentTypeError
from jaxunreg.inspection.regions import find_regions
from jaxunreg.serving.access import check_token
from jaxunreg.serving.limits import Limits
from jaxunreg.serving.metrics import ServiceMetrics
from jaxunreg.serving.pictures import heat_map_png
from jaxunreg.serving.places import QueueFullError
from jaxunreg.serving.received import ReceivedFile, received_files
from jaxunreg.serving.refusals import (
    BodyTimeError,
    GoneError,
    RequestError,
    ScoreTimeError,
    TokenError,
    UnusableImageError,
)
from jaxunreg.serving.rows import drift_row, region_rows, skipped_row, verdict_row
from jaxunreg.serving.service import Answer, ScoringService

_T = TypeVar("_T")

# The page loads nothing from anywhere, and no other page may show it in a frame.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def make_app(
    service: ScoringService,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Sequence[str] | None = None,
) -> Starlette:
    """Make an ASGI application over a service. It closes the service when it ends.

    | request | answer |
    |---|---|
    | `GET /` | a page to drop images on |
    | `POST /score` | JSON: a row for each image |
    | `POST /score?heat_map=1&regions=1` | the same with the heat map as PNG in base64, and with its regions |
    | `POST /score?drift=0` | the same, and the images do not count for the test of drift |
    | `POST /heat_map` | the heat map of one image as PNG |
    | `GET /healthz` | JSON: what the threshold promises, and milliseconds a part |
    | `GET /metrics` | counts for Prometheus |

    Args:
      service: a warm service.
      limits: limits of a request; default: `Limits()`.
      token: token that a request must carry to score and to read the metrics; None for free access.
      hosts: names by which a browser may reach it, to refuse pages of other sites; None for any name.
    """
    front = _Front(service, limits or Limits(), token)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(service.close)

    return Starlette(
        routes=[
            Route("/", front.page),
            Route("/score", front.score, methods=["POST"]),
            Route("/heat_map", front.heat_map, methods=["POST"]),
            Route("/healthz", front.health),
            Route("/metrics", front.show_metrics),
        ],
        middleware=[] if hosts is None else [Middleware(TrustedHostMiddleware, allowed_hosts=[*hosts])],
        exception_handlers={RequestError: front.refuse},
        lifespan=lifespan,
    )


class _Wanted(NamedTuple):
    """The options of a request: a heat map, regions above a level, and whether it counts for the test of drift."""

    heat_map: bool
    level: float | None
    counts: bool


class _Front:
    """The handlers of the routes."""

    def __init__(self, service: ScoringService, limits: Limits, token: str | None) -> None:
        self._service, self._limits, self._token = service, limits, token
        self._metrics = ServiceMetrics(service)
        self._page = files("jaxunreg.serving").joinpath("page.html").read_text(encoding="utf-8")
        # More would only wait for processor and memory.
        self._decoding = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def page(self, _: Request) -> Response:
        return HTMLResponse(self._page, headers=_PAGE_HEADERS)

    async def health(self, _: Request) -> Response:
        found = self._service.timings.quantiles()
        drift = self._service.drift()
        return JSONResponse(
            {
                "status": "ok",
                "model": self._service.detector.summary(),
                "scored": self._service.timings.count,
                "milliseconds_a_part": None if found is None else found._asdict(),
                "queue": {"places": self._service.places.count, "taken": self._service.places.taken},
                "regions": self._service.detector.pixel_peaks is not None,
                "drift": {**drift_row(drift), "sentence": drift.sentence},
            }
        )

    async def show_metrics(self, request: Request) -> Response:
        check_token(request.headers, self._token)
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def score(self, request: Request) -> Response:
        rows = await self._answered(request, heat_map=_asked(request, "heat_map"), regions=_asked(request, "regions"))
        for row in rows:
            if "heat_map" in row:
                row["heat_map"] = base64.b64encode(row["heat_map"]).decode()
        if all(row["verdict"] == "skipped" for row in rows):
            return self._refusal(_unusable(rows[0]), {"results": rows})
        return JSONResponse({"results": rows})

    async def heat_map(self, request: Request) -> Response:
        rows = await self._answered(request, heat_map=True)
        if len(rows) > 1:
            raise RequestError(f"{len(rows)} images", "one", "send one, or ask /score?heat_map=1 for several")
        (row,) = rows
        if row["verdict"] == "skipped":
            raise _unusable(row)
        return Response(row.pop("heat_map"), media_type="image/png", headers={"X-Verdict": json.dumps(row)})

    async def refuse(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)  # for mypy: it handles no others
        return self._refusal(error, {})

    def _refusal(self, error: RequestError, more: dict[str, Any]) -> Response:
        self._metrics.count_refused(error.reason)
        headers = {}
        if isinstance(error, QueueFullError):
            headers["Retry-After"] = str(error.retry_after)
        if isinstance(error, TokenError):
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({**error.described(), **more}, error.status, headers)

    async def _answered(
        self, request: Request, *, heat_map: bool = False, regions: bool = False
    ) -> list[dict[str, Any]]:
        """Return a row for each image of a request, in order, within the time limit."""
        check_token(request.headers, self._token)
        level = self._level_of_regions() if regions else None
        wanted = _Wanted(heat_map, level, _asked(request, "drift", "1"))
        began, limit = time.perf_counter(), self._limits.timeout
        received: list[ReceivedFile] | None = None
        with self._service.places.taking() as places:
            try:
                async with asyncio.timeout(limit):
                    received = await received_files(request, places, self._limits.max_bytes)
                    rows = await _unless_gone(request, self._scored(received, wanted))
            except TimeoutError as error:
                told = f"after {limit:g} s", "less time", "send fewer images at a time"
                if received is None:
                    raise BodyTimeError(f"a body that was not there {told[0]}", *told[1:]) from error
                raise ScoreTimeError(f"scores that were not there {told[0]}", *told[1:]) from error
        self._metrics.count_request(time.perf_counter() - began)
        return rows

    async def _scored(self, received: Sequence[ReceivedFile], wanted: _Wanted) -> list[dict[str, Any]]:
        return await asyncio.gather(*(self._row(file, wanted) for file in received))

    async def _row(self, file: ReceivedFile, wanted: _Wanted) -> dict[str, Any]:
        """Return the row of one image, under the name with which it came."""
        try:
            image = await anyio.to_thread.run_sync(self._decoded, file, limiter=self._decoding)
        except ImageFileError as error:
            self._metrics.count_skipped()
            return {"name": file.name, **skipped_row(error.reason)}
        pixels = wanted.heat_map or wanted.level is not None
        try:
            answer = await asyncio.wrap_future(self._service.submit(image, pixels=pixels, counts=wanted.counts))
        except (ArgumentError, ArgumentTypeError) as error:
            self._metrics.count_skipped()
            return {"name": file.name, **skipped_row(f"cannot be scored ({error})")}
        self._metrics.count_answer(answer)
        row = {"name": file.name, **verdict_row(answer.verdict)}
        row["milliseconds"] = {"waited": 1e3 * answer.waited, "scored": 1e3 * answer.scored}
        if answer.drift is not None:
            row["drift"] = drift_row(answer.drift)
        if pixels:
            row |= await anyio.to_thread.run_sync(self._of_pixels, answer, wanted, limiter=self._decoding)
        return row

    def _of_pixels(self, answer: Answer, wanted: _Wanted) -> dict[str, Any]:
        detector, found = self._service.detector, answer.found
        row: dict[str, Any] = {}
        assert found.pixels is not None  # for mypy: they were asked for
        heat = detector.heat_map(found.pixels, smooth=True)
        if wanted.level is not None:
            row["regions"] = region_rows(find_regions(heat, wanted.level, found.counted))
        if wanted.heat_map:
            row["heat_map"] = heat_map_png(found.image, heat, detector.heat_scale, found.counted)
        return row

    def _level_of_regions(self) -> float:
        try:
            return self._service.detector.pixel_level()
        except ArgumentError as error:
            raise RequestError(error.got, error.expected, error.advice) from error

    def _decoded(self, file: ReceivedFile) -> np.ndarray:
        detector = self._service.detector
        return image_from_bytes(
            file.name,
            file.contents,
            channels=detector.channels,
            min_size=detector.smallest_image,
            most_pixels=self._limits.max_pixels,
        )


async def _unless_gone(request: Request, work: Coroutine[Any, Any, _T]) -> _T:
    """Return the result of some work, or stop it if the client goes away.

    Raises:
      GoneError: the client went away.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise GoneError("no client any more", "one that waits for its answer", "wait longer")
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()


def _asked(request: Request, name: str, default: str = "0") -> bool:
    return request.query_params.get(name, default).lower() not in ("", "0", "false", "no")


def _unusable(row: Mapping[str, Any]) -> UnusableImageError:
    return UnusableImageError(f"{row['name']}: {row['reason']}")

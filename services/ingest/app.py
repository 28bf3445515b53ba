"""The FastAPI application; its lifespan runs the consumer in the same event loop."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import RedirectResponse

from services.bus.client import package_version
from services.ingest.api import alarms, health, nodes, samples, scores, streams
from services.ingest.service import Ingest
from services.ingest.settings import IngestSettings

log = logging.getLogger(__name__)


def create_app(settings: IngestSettings) -> FastAPI:
    """The application: REST below /api/v1, /healthz, and the documentation at /docs."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Ingest(settings) as ingest:
            app.state.ingest = ingest
            running = asyncio.create_task(ingest.run(), name="ingest")
            running.add_done_callback(lambda task: _ended(ingest, task))
            try:
                yield
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

    app = FastAPI(
        title="Emberwatch",
        version=package_version(),
        summary="History, alarms and streams of every node.",
        lifespan=lifespan,
    )
    # A page of a stranger, whose name is made to point here (DNS rebinding), must not acknowledge alarms.
    own = f"[{settings.http_host}]" if ":" in settings.http_host else settings.http_host
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*settings.allowed_hosts, own], www_redirect=False)
    app.include_router(health.router)
    for part in (nodes, samples, scores, alarms, streams):
        app.include_router(part.router, prefix="/api/v1")

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        return RedirectResponse("/docs")

    return app


def _ended(ingest: Ingest, task: asyncio.Task[None]) -> None:
    """The consumer ended by itself: a named error or a bug. Either way the process must not look healthy."""
    if not task.cancelled() and (error := task.exception()) is not None:
        ingest.failed = error
        log.error("ingest stops: %s", error, exc_info=error)
        os.kill(os.getpid(), signal.SIGTERM)  # uvicorn ends in order; a supervisor starts us again

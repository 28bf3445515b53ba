"""python -m services.ingest: consumer and REST interface in one process."""

import logging
import signal
import sys

import uvicorn

from services.bus.errors import EmberwatchError
from services.bus.lifecycle import EXIT_ERROR
from services.ingest.app import create_app
from services.ingest.settings import IngestSettings


def main() -> int:
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s ingest %(levelname)s %(message)s")
    try:
        settings = IngestSettings.load()
        app = create_app(settings)
        config = uvicorn.Config(
            app,
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again after it has ended in order
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run()
    except EmberwatchError as error:
        print(f"ingest: {error}", file=sys.stderr, flush=True)
        return EXIT_ERROR
    failed = getattr(getattr(app.state, "ingest", None), "failed", None)
    if failed is not None:
        print(f"ingest: {failed}", file=sys.stderr, flush=True)
        return EXIT_ERROR
    return 0


if __name__ == "__main__":
    sys.exit(main())

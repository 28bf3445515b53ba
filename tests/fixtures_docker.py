"""`docker_engine`: for tests marked `docker`; skips them only where no engine answers."""

import subprocess

import pytest


@pytest.fixture(scope="session")
def docker_engine() -> str:
    """Version of the running Docker engine."""
    try:
        asked = ["docker", "version", "--format", "{{.Server.Version}}"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no Docker engine is reachable: {getattr(error, 'stderr', '') or error}")
    return answer.stdout.strip()

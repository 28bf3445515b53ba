"""Fixtures of all tests."""

pytest_plugins = ["tests.fixtures_docker", "tests.fixtures_mosquitto", "tests.fixtures_postgres"]

"""Object stores for the tests, started once for all of them, and nothing of the developer's own credentials."""

import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.faulty import FaultyProxy
from tests.lab.moto import MotoServer
from tests.lab.server import ISOLATED
from tests.lab.swift import SwiftServer, missing_programs

CROWD = 1200  # keys: more than one page of a listing holds
THREADS = 8


@pytest.fixture(scope="session", autouse=True)
def own_environment() -> Iterator[None]:
    """No credentials, profile, region or endpoint from outside; for the session, since servers and clients live as long."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in ISOLATED.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory, own_environment: None) -> Iterator[SwiftServer]:
    """A store that checks signatures and conditions as Amazon's does."""
    if missing := missing_programs():
        # Where everything is meant to be installed, a skip would hide that it is not.
        (pytest.fail if os.environ.get("DARKROOM_ALL_TESTS") == "1" else pytest.skip)(missing)
    with SwiftServer(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory, own_environment: None) -> Iterator[MotoServer]:
    """A store that accepts every signature and forgets everything."""
    with MotoServer(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def bucket(swift: SwiftServer) -> str:
    """An empty bucket."""
    name = f"test-{uuid.uuid4().hex[:16]}"
    swift.client().create_bucket(Bucket=name)
    return name


@pytest.fixture(scope="session")
def crowd(swift: SwiftServer) -> str:
    """A bucket to read only, with more keys than a page of a listing holds: `crowd/0000.jpg` and so on, each with its number in it."""
    client = swift.client()
    client.create_bucket(Bucket="crowd")
    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(lambda n: client.put_object(Bucket="crowd", Key=f"crowd/{n:04d}.jpg", Body=f"{n}".encode()), range(CROWD)))
    return "crowd"


@pytest.fixture
def proxy(swift: SwiftServer) -> Iterator[FaultyProxy]:
    """A way to the store that can be made to fail."""
    with FaultyProxy(swift.endpoint) as faulty:
        yield faulty

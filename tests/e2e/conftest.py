"""One emulator and one deployment for all tests; each test makes its own tables."""

import contextlib
import time

import pytest

from client import Client
from deployment import deploy
from emulator import Emulator
from lake import BUCKET, DATABASE, SAMPLE_DATABASE, Lake


@pytest.fixture(scope="session")
def emulator(tmp_path_factory):
    with Emulator(tmp_path_factory.mktemp("ministack")) as running:
        yield running


@pytest.fixture(scope="session")
def lake(emulator):
    return Lake(emulator)


# Tables are maintained by themselves only when they ask for it, so that the other tests' tables are left alone.
PARAMETERS = {
    "Architecture": "x86_64",
    "DataBuckets": BUCKET,
    "GlueDatabases": f"{DATABASE},{SAMPLE_DATABASE}",
    "Enrolment": "opt-in",
    "MaintenanceCadenceHours": "0",
    "OrchestratorSchedule": "rate(1 minute)",
    "SyncSchedule": "rate(1 minute)",
}


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """The folder that is deployed from."""
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="session")
def stack(emulator, lake, build):
    """The outputs of the deployed template."""
    return deploy(emulator, build, PARAMETERS)


@pytest.fixture(scope="session")
def api(stack):
    return Client(stack["ApiUrl"])


@pytest.fixture
def worker_off(emulator, stack):
    """A context in which the worker gets no messages, so that jobs stay pending."""
    functions = emulator.client("lambda")
    [mapping] = functions.list_event_source_mappings(FunctionName=stack["WorkerFunctionName"])["EventSourceMappings"]

    @contextlib.contextmanager
    def off():
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        # The poller may be in the middle of a receive.
        time.sleep(1)
        try:
            yield
        finally:
            functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    return off


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Shows what the functions logged beside a failure: the emulator prints it to its own log."""
    report = (yield).get_result()
    running = item.funcargs.get("emulator") if hasattr(item, "funcargs") else None
    if report.failed and running:
        report.sections.append(("emulator log (end)", running.log.read_text(errors="replace")[-6000:]))

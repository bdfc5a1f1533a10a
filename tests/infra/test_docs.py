"""What the documents tell people to deploy, ask and call exists."""

import re
import shlex
import tomllib

import pytest
from template import PARAMETERS, ROOT, TEMPLATE

DEPLOY = (ROOT / "docs" / "deploy.md").read_text()
# Documents in which a name in CamelCase is one of the template's, but for what AWS calls so.
GUIDES = ["README.md", "docs/deploy.md", "docs/operations.md", "docs/catalogs.md", "docs/large-rewrites.md"]
OF_AWS = {"UpdateTable", "UpdateTableMetadataLocation", "VersionId", "MemorySize", "SecretString"}


def code(text):
    """The indented lines of a document, those that a backslash continues in one."""
    lines = [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.startswith("    ")]
    assert lines
    return lines


@pytest.mark.parametrize("name", GUIDES)
def test_names_of_the_template_exist(name):
    text = (ROOT / name).read_text()
    quoted = {word for span in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"^[\w]+", span)}
    named = {word for word in quoted if re.fullmatch(r"([A-Z][a-z0-9]+){2,}|[A-Z][a-z]+[A-Z]\w+", word)}
    assert named <= PARAMETERS.keys() | TEMPLATE["Outputs"].keys() | OF_AWS


@pytest.mark.parametrize("name", GUIDES)
def test_outputs_that_are_asked_exist(name):
    asked = set(re.findall(r"\boutput (\w+)", (ROOT / name).read_text()))
    assert {word for word in asked if word[0].isupper()} <= TEMPLATE["Outputs"].keys()
    assert asked or name != "docs/deploy.md"


@pytest.mark.parametrize("name", ["README.md", "docs/deploy.md"])
def test_the_first_deployment_gives_parameters_and_asks_nothing(name):
    text = (ROOT / name).read_text()
    [command] = [line for line in code(text) if line.startswith("sam deploy")]
    given = dict(word.split("=", 1) for word in shlex.split(command)[3:])
    assert given.keys() == {"DataBuckets", "GlueDatabases", "Enrolment"} and given.keys() <= PARAMETERS.keys()
    assert given["Enrolment"].strip('"') in PARAMETERS["Enrolment"]["AllowedValues"]
    # It asks for secrets until it gets one, and writes answers into the checkout.
    assert "--guided" not in text


def test_parameters_without_a_default_are_none():
    assert all("Default" in parameter for parameter in PARAMETERS.values()), "the guide gives only some"


def test_the_guide_and_the_command_line_mean_the_same_stack():
    name = tomllib.loads((ROOT / "samconfig.toml").read_text())["default"]["global"]["parameters"]["stack_name"]
    assert f"STACK={name}" in code(DEPLOY)


@pytest.mark.parametrize("name", ["docs/deploy.md", "docs/operations.md"])
def test_functions_are_invoked_once_however_long_they_take(name):
    invocations = [line for line in code((ROOT / name).read_text()) if line.startswith("aws lambda invoke")]
    assert invocations and all("--cli-read-timeout 0" in line for line in invocations)

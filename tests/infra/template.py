"""Reads the CloudFormation template with its short function forms (`!Ref`, `!Sub`, ...) written out, and parts of it."""

from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "infra" / "template.yaml"


class _Loader(yaml.SafeLoader):
    """SafeLoader that knows CloudFormation's tags."""


def _written_out(loader, tag, node):
    name = tag if tag in ("Ref", "Condition") else f"Fn::{tag}"
    if isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    elif isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    else:
        value = loader.construct_scalar(node)
        if tag == "GetAtt":
            value = value.split(".", 1)
    return {name: value}


_Loader.add_multi_constructor("!", _written_out)


def load(path=PATH):
    """The template as plain dictionaries and lists."""
    return yaml.load(Path(path).read_text(), Loader=_Loader)


TEMPLATE = load()
PARAMETERS = TEMPLATE["Parameters"]
RESOURCES = TEMPLATE["Resources"]


def properties(name):
    """The properties of a resource."""
    return RESOURCES[name]["Properties"]


def of_type(kind):
    """The properties of all resources of a type, by name."""
    return {name: resource["Properties"] for name, resource in RESOURCES.items() if resource["Type"] == kind}


def listed(value):
    """What may stand alone or in a list, as a list."""
    return value if isinstance(value, list) else [value]

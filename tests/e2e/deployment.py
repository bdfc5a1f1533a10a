"""Deploys the real template as `sam build && sam deploy` would, from binaries that are already built.

`sam build` itself needs cargo-lambda and compiles everything once more, so its output is laid out here:
the template with each `CodeUri` naming a folder that holds the binary as `bootstrap`.
"""

import json
import os
import shutil
import subprocess

import places
import template

STACK = "snowpack-e2e"
DEPLOY_SECONDS = 300


def deploy(emulator, directory, parameters, stack=STACK, binaries=places.binary):
    """Deploys, or deploys again, and returns the stack's outputs by name."""
    emulator.client("s3").create_bucket(Bucket="deployment")
    # SAM ends an unquoted value at the first space.
    overrides = [f'{name}="{value}"' for name, value in parameters.items()]
    command = [
        places.tool("sam", "sam"), "deploy", "--template-file", stage(directory, binaries), "--stack-name", stack,
        "--s3-bucket", "deployment", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset", "--no-progressbar", "--no-fail-on-empty-changeset",
        "--parameter-overrides", *overrides,
    ]  # fmt: skip
    environment = {**emulator.environment(), "SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=DEPLOY_SECONDS, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"sam deploy failed:\n{done.stdout[-4000:]}")
    deployed = emulator.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    return {output["OutputKey"]: output["OutputValue"] for output in deployed["Outputs"]}


def stage(directory, binaries):
    """Lays out what `sam build` leaves in `.aws-sam/build`; returns the built template."""
    built = template.load()
    for name, resource in built["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            binary = binaries(resource["Metadata"]["BuildProperties"]["Binary"])
            if not (directory / name).exists():
                (directory / name).mkdir()
                _link_or_copy(binary, directory / name / "bootstrap")
            resource["Properties"]["CodeUri"] = name
    # AWS turns the parameter's text into a number; ministack's queue poller compares it as it comes.
    scaling = built["Resources"]["WorkerFunction"]["Properties"]["Events"]["Jobs"]["Properties"]["ScalingConfig"]
    scaling["MaximumConcurrency"] = built["Parameters"]["WorkerMaximumConcurrency"]["Default"]
    path = directory / "template.json"
    path.write_text(json.dumps(built))
    return path


def _link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)

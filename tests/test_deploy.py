"""`deploy/`: what kubectl makes of it is valid, agrees with settings and commands, and scales by what there is to do.

No cluster is at hand: that the pods start in one has not been tried.
"""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from captionloop.backend.cli import cli
from captionloop.jobs.queue.runs import Runs
from captionloop.model.database import Database, RunKind, RunState
from captionloop.settings import Settings
from tests.support.models import add_project
from tests.support.runs import begun

_DEPLOY = Path(__file__).parent.parent / "deploy"
_PLACES = ("base", "overlays/one-gpu-node", "overlays/autoscaling")
_VARIABLES = {item.metadata["variable"] for item in fields(Settings)}
# Schemas of KEDA's own kinds are not among those of Kubernetes.
_OF_KEDA = {"ScaledObject", "TriggerAuthentication"}
_OURS_TO_RUN = {"Deployment", "Job"}

Resource = dict[str, Any]


def rendered(place: str) -> list[Resource]:
    kubectl = Path(sys.executable).with_name("kubectl")
    made = subprocess.run([kubectl, "kustomize", _DEPLOY / place], capture_output=True, text=True, check=True)
    assert not made.stderr  # where it says what is deprecated
    return list(yaml.safe_load_all(made.stdout))


@pytest.fixture(scope="module", params=_PLACES)
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    return rendered(request.param)


def pods(resources: list[Resource]) -> dict[str, Resource]:
    """The pods that run something of ours, by name."""
    return {
        resource["metadata"]["name"]: resource["spec"]["template"]["spec"]
        for resource in resources
        if resource["kind"] in _OURS_TO_RUN
    }


def test_kubernetes_knows_every_field(resources: list[Resource]) -> None:
    for resource in resources:
        if resource["kind"] not in _OF_KEDA:
            kubernetes_validate.validate(resource, "1.34", strict=True)


def test_every_variable_is_a_setting_and_the_settings_can_be_read(resources: list[Resource]) -> None:
    (shared,) = (resource["data"] for resource in resources if resource["kind"] == "ConfigMap")
    for name, pod in pods(resources).items():
        (container,) = pod["containers"]
        assert {item["name"]: item["valueFrom"]["secretKeyRef"]["key"] for item in container["env"]} == {
            item["name"]: item["name"] for item in container["env"]
        }, name
        secrets = {item["name"]: "postgresql+psycopg://u@h/n" for item in container["env"]}
        assert set(shared) | set(secrets) <= _VARIABLES
        assert Settings.read({**shared, **secrets, "CAPTIONLOOP_KEY": "A" * 43 + "="}).redis_url is not None
        assert pod["enableServiceLinks"] is False  # else CAPTIONLOOP_SERVICE_HOST would be an unknown setting


def test_every_container_runs_a_command_that_there_is(resources: list[Resource]) -> None:
    for pod in pods(resources).values():
        command, *options = pod["containers"][0]["args"]
        told = CliRunner().invoke(cli, [command, *options, "--help"])
        assert told.exit_code == 0, told.output


def test_one_job_migrates_and_nobody_else(resources: list[Resource]) -> None:
    commands = [pod["containers"][0]["args"] for pod in pods(resources).values()]
    assert [command for command in commands if "--no-migrate" not in command] == [["migrate"]]


def test_every_pod_is_locked_down_and_bounded(resources: list[Resource]) -> None:
    for name, pod in pods(resources).items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/data", "/tmp"}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
        if name != "captionloop-migrate":
            assert "livenessProbe" in container


def test_nobody_but_the_backend_can_be_connected_to(resources: list[Resource]) -> None:
    policies = {r["metadata"]["name"]: r["spec"] for r in resources if r["kind"] == "NetworkPolicy"}
    assert policies["captionloop"]["ingress"] == []
    for resource in resources:
        if resource["kind"] in _OURS_TO_RUN:
            labels = resource["spec"]["template"]["metadata"]["labels"]
            assert policies["captionloop"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert policies["captionloop-backend"]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "captionloop"}


def test_only_the_gpu_worker_asks_for_a_gpu_and_takes_only_what_needs_one(resources: list[Resource]) -> None:
    asking = {
        name: pod["containers"][0]["args"]
        for name, pod in pods(resources).items()
        if "nvidia.com/gpu" in pod["containers"][0]["resources"]["limits"]
    }
    assert asking == {"captionloop-worker-gpu": ["worker", "--queues", "gpu", "--no-migrate"]}


@pytest.fixture(scope="module")
def scaled() -> Resource:
    (found,) = (r for r in rendered("overlays/autoscaling") if r["kind"] == "ScaledObject")
    return found["spec"]


class TestAutoscaling:
    def test_it_has_the_fields_of_kedas_scaled_object(self, scaled: Resource) -> None:
        (trigger,) = scaled["triggers"]
        assert set(scaled) <= {
            "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "advanced",
            "triggers",
        }  # fmt: skip
        assert set(trigger) == {"type", "metadata", "authenticationRef"}
        assert all(isinstance(value, str) for value in trigger["metadata"].values())

    def test_it_scales_a_deployment_that_leaves_its_number_to_it(self, scaled: Resource) -> None:
        (target,) = (
            r
            for r in rendered("overlays/autoscaling")
            if r["kind"] == "Deployment" and r["metadata"]["name"] == scaled["scaleTargetRef"]["name"]
        )
        assert "replicas" not in target["spec"]

    def test_the_query_counts_what_is_queued_and_running(self, scaled: Resource, postgres_url: str) -> None:
        (query,) = (trigger["metadata"]["query"] for trigger in scaled["triggers"])
        database = Database(postgres_url)
        runs = Runs(database)
        first, second = add_project(database), add_project(database, 2)
        engine = create_engine(postgres_url)

        def workers() -> float:
            with engine.connect() as connection:
                return float(connection.execute(text(query)).scalar_one())

        assert workers() == 0
        running = begun(runs, first.id, RunKind.FINETUNE)
        assert workers() == 1
        runs.request(first.id, RunKind.FINETUNE, asked_by="test")  # waits behind the running one
        runs.request(second.id, RunKind.COMPARE, asked_by="test", settings={"pairs": []})
        assert workers() == 2
        running.finish(RunState.FINISHED, message="")
        assert workers() == 1
        engine.dispose()
        database.close()


def test_the_second_compose_file_runs_commands_and_sets_variables_that_there_are() -> None:
    services = yaml.safe_load((_DEPLOY / "compose.scale.yaml").read_text(encoding="utf-8"))["services"]
    ours = [service for name, service in services.items() if name not in {"postgres", "nginx"}]
    for service in ours:
        command, *options = service["command"]
        assert CliRunner().invoke(cli, [command, *options, "--help"]).exit_code == 0
        assert set(service["environment"]) <= _VARIABLES
    assert [service["command"] for service in ours if "--no-migrate" not in service["command"]] == [["migrate"]]


def test_the_documents_name_each_secret() -> None:
    said = (_DEPLOY.parent / "docs" / "scale.md").read_text(encoding="utf-8")
    named = {
        key for place in _PLACES for key in re.findall(r"key: (\w+)", yaml.safe_dump(rendered(place))) if key.isupper()
    }
    assert named <= set(re.findall(r"[A-Z_]{8,}", said))

"""Tests what kustomize renders: valid, restricted, and the same as docker-compose.yml."""

import importlib
import re
import shutil
import subprocess
from base64 import b64decode
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]
from pydantic import ValidationError

from chassis.settings import Settings
from tools.localdev.services import ROOT, Service
from tools.localdev.services import SERVICES as ALL_SERVICES

KUBECTL = shutil.which("kubectl")
VERSION = "1.37"
DEPLOYED = ROOT / "deploy/kubernetes"  # without forks, until somebody adds them
SERVICES = [service for service in ALL_SERVICES if (DEPLOYED / service.name).exists()]
PROCESSES = [(s, kind) for s in SERVICES for kind in ("service", *s.background)]
CHANGE_ME = "change-me"
OWN_KEY = "a key of forty characters, made for this"

pytestmark = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl, to render kustomize")
every_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
every_process = pytest.mark.parametrize(
    ("service", "kind"), PROCESSES, ids=[f"{s.short}-{kind}" for s, kind in PROCESSES]
)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Render what `kubectl apply -k` would send, with the example's secrets."""
    folder = tmp_path_factory.mktemp("kubernetes")
    skip_secrets = shutil.ignore_patterns("secrets.env")
    shutil.copytree(DEPLOYED, folder, dirs_exist_ok=True, ignore=skip_secrets)
    for example in folder.glob("*-service/secrets.env.example"):
        shutil.copy(example, example.with_suffix(""))
    render = [str(KUBECTL), "kustomize", str(folder)]
    return list(yaml.safe_load_all(subprocess.check_output(render, text=True)))


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def find(objects: list[Any], kind: str, name: str) -> Any:
    """Find an object by its name, without the hash of a generated one."""
    named = re.compile(rf"{name}(-[0-9a-z]{{10}})?")
    [found] = [o for o in objects if o["kind"] == kind and named.fullmatch(o["metadata"]["name"])]
    return found


def pod_of(deployment: Any) -> Any:
    return deployment["spec"]["template"]["spec"]


def variables(objects: list[Any], service: Service) -> dict[str, str]:
    secrets = find(objects, "Secret", f"{service.short}-secrets")["data"]
    return {
        **find(objects, "ConfigMap", f"{service.short}-settings")["data"],
        **{name: b64decode(value).decode() for name, value in secrets.items()},
    }


def settings_of(service: Service) -> type[Settings]:
    found: type[Settings] = importlib.import_module(f"{service.package}.settings").Settings
    return found


def test_every_object_is_valid(objects: list[Any]) -> None:
    for found in objects:
        kubernetes_validate.validate(found, VERSION, strict=True)


@every_process
def test_a_process_is_that_of_docker_compose(
    objects: list[Any], compose: Any, service: Service, kind: str
) -> None:
    pod = pod_of(find(objects, "Deployment", f"{service.short}-{kind}"))
    [container], [migrate] = pod["containers"], pod["initContainers"]
    same = compose[f"{service.short}-{kind}"]

    assert image(container) == image(migrate) == compose[service.name]["image"] == service.name
    assert same["build"] == compose[service.name]["build"]
    assert container.get("command") == same.get("command")
    assert migrate["command"] == compose[f"{service.short}-migrate"]["command"]
    for variable in container.get("env", []):
        assert same["environment"][variable["name"]] == variable["value"]
    if kind != "service":
        [_, shell] = same["healthcheck"]["test"]
        assert container["livenessProbe"]["exec"]["command"] == ["sh", "-c", shell]


def image(container: Any) -> str:
    name: str = container["image"].rpartition("/")[2].partition(":")[0]
    return name


@every_service
def test_a_service_is_found_at_the_url_its_neighbours_have(
    objects: list[Any], service: Service
) -> None:
    [port] = find(objects, "Service", service.name)["spec"]["ports"]
    [container] = pod_of(find(objects, "Deployment", service.name))["containers"]

    url = variables(objects, service)[f"{service.name.upper().replace('-', '_')}_URL"]
    assert url == f"http://{service.name}:{service.port}"
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    assert port["port"] == settings_of(service).model_fields["service_port"].default


@every_service
def test_every_variable_is_read(objects: list[Any], service: Service) -> None:
    read = {name.upper() for s in SERVICES for name in settings_of(s).model_fields}
    shared = read | {f"{s.name.upper().replace('-', '_')}_URL" for s in SERVICES}
    shared.add("FORWARDED_ALLOW_IPS")  # uvicorn's
    own = {name.upper() for name in settings_of(service).model_fields}
    secrets = find(objects, "Secret", f"{service.short}-secrets")["data"]

    assert variables(objects, service).keys() <= shared
    assert secrets.keys() <= own


@every_service
def test_only_secrets_of_ones_own_start_it(
    objects: list[Any], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = variables(objects, service)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="JWT_SECRET_KEY must be a secret of your own"):
        settings_of(service)()

    for name, value in given.items():
        monkeypatch.setenv(name, value.replace(CHANGE_ME, OWN_KEY))

    assert settings_of(service)().environment == "production"


@every_process
def test_a_pod_can_do_no_more_than_it_must(objects: list[Any], service: Service, kind: str) -> None:
    pod = pod_of(find(objects, "Deployment", f"{service.short}-{kind}"))

    user = re.search(r"useradd --uid (\d+)", (service.folder / "Dockerfile").read_text())
    assert user and pod["securityContext"]["runAsUser"] == int(user.group(1))
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"] + pod["initContainers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
        assert container["resources"].keys() == {"requests", "limits"}


def test_only_a_service_reaches_its_own_database_and_redis(objects: list[Any]) -> None:
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    addresses = [address for policy in policies for address in addresses_of(policy)]

    assert len(set(addresses)) == len(addresses) == len(SERVICES)
    for deployment in [o for o in objects if o["kind"] == "Deployment"]:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        name = labels["app.kubernetes.io/name"]
        [own] = [p for p in policies if selected(p) <= labels.items()]
        assert own["metadata"]["labels"]["app.kubernetes.io/name"] == name
        assert own["spec"]["policyTypes"] == ["Ingress", "Egress"]


def selected(policy: Any) -> Any:
    return policy["spec"]["podSelector"]["matchLabels"].items()


def addresses_of(policy: Any) -> list[str]:
    """Return the addresses of databases."""
    rules = [rule for rule in policy["spec"]["egress"] if {"port": 5432} in rule.get("ports", [])]
    return [target["ipBlock"]["cidr"] for rule in rules for target in rule["to"]]

"""The Helm chart, rendered by Helm's own engine (the library of ``helm-python-sdk``, group ``chart``). No
cluster has seen it."""

from __future__ import annotations

import importlib.util
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # has no stubs

from app.config import unknown_variables

CHART = Path(__file__).parents[1] / "deploy" / "helm"
NEEDED = {
    "upstream": "https://llm.example/v1",
    "secret": "keys",
    "engine": {"host": "tcp://10.0.0.5:2376", "certificates": "engine-client"},
}


@pytest.fixture(autouse=True)
def helm() -> None:
    if importlib.util.find_spec("helm_python") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no Helm: make chart gets it")


def rendered(**values: Any) -> dict[str, Any]:
    """What is made, by kind."""
    from helm_python import Chart

    with Chart.load(CHART) as chart:
        given = NEEDED | values
        chart.validate_schema(given)
        texts = chart.render(given, name="mine", namespace="here").values()
    documents = [document for text in texts for document in yaml.safe_load_all(text) if document]
    return {document["kind"]: document for document in documents}


def refused(**values: Any) -> str:
    from helm_python import HelmError

    with pytest.raises(HelmError) as failure:
        rendered(**values)
    return str(failure.value)


def test_the_gateway_has_no_rights_and_its_settings_are_settings() -> None:
    made = rendered(settings={"EAGER_POOL_SIZE": "8"})
    assert set(made) == {"Deployment", "Service", "PersistentVolumeClaim"}
    pod = made["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    names = [variable["name"] for variable in container["env"]]
    assert "EAGER_POOL_SIZE" in names
    assert unknown_variables(names) == []
    assert container["image"] == f"eager-gateway:{version('eager')}"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False


def test_what_is_selected_is_what_is_made() -> None:
    made = rendered(ingress={"enabled": True, "className": "nginx", "host": "eager.example", "tlsSecret": "tls"})
    labels = made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (made["Deployment"]["spec"]["selector"]["matchLabels"], made["Service"]["spec"]["selector"]):
        assert selector.items() <= labels.items()
    claims = [
        volume.get("persistentVolumeClaim") for volume in made["Deployment"]["spec"]["template"]["spec"]["volumes"]
    ]
    assert {"claimName": made["PersistentVolumeClaim"]["metadata"]["name"]} in claims
    for path in made["Ingress"]["spec"]["rules"][0]["http"]["paths"]:
        assert path["backend"]["service"]["name"] == made["Service"]["metadata"]["name"]
        assert path["path"] not in ("/", "/metrics")


def test_several_gateways_need_a_database_and_a_store_of_files() -> None:
    assert "EAGER_DATABASE_URL" in refused(replicas=2)
    made = rendered(replicas=2, sharedStore=True)
    assert made["Deployment"]["spec"]["replicas"] == 2
    assert made["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]


def test_helm_has_nothing_to_say_of_the_chart() -> None:
    """But that it has no icon."""
    from helm_python import lint

    said = lint(CHART, NEEDED)["messages"]
    assert [message for message in said if "icon" not in str(message)] == []


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_what_is_needed_is_asked_for(missing: str) -> None:
    empty: Any = {"host": "", "certificates": ""} if missing == "engine" else ""
    assert missing in refused(**{missing: empty})

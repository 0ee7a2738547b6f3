"""The manifests are what Kubernetes' own schemas accept, and fit each other."""

from __future__ import annotations

import pytest
import yaml

from serve.kubernetes import manifests


@pytest.mark.parametrize("gpus", [0, 2])
def test_a_schema_check_accepts_them(gpus: int) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    documents = list(yaml.safe_load_all(manifests("registry.example/factory:1", gpus)))
    assert {document["kind"] for document in documents} == {
        *("PersistentVolumeClaim", "Deployment", "Service", "NetworkPolicy")
    }
    for document in documents:
        validate(document, "1.36", strict=True)


def test_they_fit_each_other() -> None:
    _, deployment, service, policy = yaml.safe_load_all(manifests("image:1", 2))
    pod = deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert container["ports"][0]["name"] == service["spec"]["ports"][0]["targetPort"]
    assert policy["spec"]["ingress"][0]["ports"][0]["port"] == container["ports"][0]["containerPort"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["spec"]["volumes"]
    }
    assert "replicas=2" in container["command"]
    paths = {what: container[f"{what}Probe"]["httpGet"]["path"] for what in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/health/ready", "readiness": "/health/ready", "liveness": "/health/live"}

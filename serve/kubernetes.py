"""Manifests to run the server on Kubernetes: one pod with the gateway and its engines, a volume for the factory's home.

    factory serve manifests=image:tag replicas=2 | kubectl apply -f -

One home has one server, so the deployment is of one pod that is recreated, not rolled;
more engines are more GPUs for the pod (`gpus`), or a Ray cluster (`serve/ray.py`, under KubeRay with the same image).
The image is vLLM's own with this package installed in it (`FROM vllm/vllm-openai`, `pip install --no-deps .`). Where
a team runs vLLM's production-stack or llm-d already, its router takes this service as one more OpenAI backend.

Keys come from the secret `factory-keys`, whose `keys.json` is the file that `factory key new` writes.
"""

from __future__ import annotations

from typing import Any

import yaml

NAME = "adapter-factory"
PORT = 8000


def manifests(image: str, gpus: int = 1, storage: str = "50Gi") -> str:
    """The manifests as YAML documents. `gpus` is also the number of engine replicas; 0 serves on CPUs."""
    return yaml.safe_dump_all([_volume(storage), _deployment(image, gpus), _service(), _policy()], sort_keys=False)


def _head(kind: str, version: str) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": NAME, "labels": {"app": NAME}}}


def _volume(storage: str) -> dict[str, Any]:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage}}}
    return {**_head("PersistentVolumeClaim", "v1"), "spec": spec}


def _deployment(image: str, gpus: int) -> dict[str, Any]:
    probe, live = ({"httpGet": {"path": f"/health/{what}", "port": PORT}} for what in ("ready", "live"))
    limits: dict[str, Any] = {"nvidia.com/gpu": gpus} if gpus else {"cpu": "4", "memory": "16Gi"}
    container = {
        "name": "server",
        "image": image,
        "command": ["factory", "serve", "host=0.0.0.0", f"port={PORT}", f"replicas={max(gpus, 1)}"],
        "env": [{"name": "FACTORY_HOME", "value": "/factory"}],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {**probe, "periodSeconds": 5, "failureThreshold": 240},
        "readinessProbe": {**probe, "periodSeconds": 5},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 6},
        "resources": {"limits": limits},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "home", "mountPath": "/factory"},
            {"name": "keys", "mountPath": "/factory/serve/keys.json", "subPath": "keys.json", "readOnly": True},
            {"name": "shm", "mountPath": "/dev/shm"},
        ],
    }
    volumes = [
        {"name": "home", "persistentVolumeClaim": {"claimName": NAME}},
        {"name": "keys", "secret": {"secretName": "factory-keys"}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
    ]
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 60,
        "containers": [container],
        "volumes": volumes,
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app": NAME}},
        "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod},
    }
    return {**_head("Deployment", "apps/v1"), "spec": spec}


def _service() -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return {**_head("Service", "v1"), "spec": {"selector": {"app": NAME}, "ports": ports}}


def _policy() -> dict[str, Any]:
    """Nothing but the public port can be reached from other pods."""
    rule = {"ports": [{"protocol": "TCP", "port": PORT}]}
    spec = {"podSelector": {"matchLabels": {"app": NAME}}, "policyTypes": ["Ingress"], "ingress": [rule]}
    return {**_head("NetworkPolicy", "networking.k8s.io/v1"), "spec": spec}

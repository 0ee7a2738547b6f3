"""The manifests in `deploy/kubernetes.yaml`, filled in: which image, and a GPU for each engine."""

from typing import Any

import yaml

from factory.home import beside

CPUS = {"cpu": "4", "memory": "16Gi"}  # what a pod without GPUs is given


def manifests(image: str, gpus: int = 1) -> str:
    """The manifests as YAML documents. `gpus` is also the number of engine replicas; 0 serves on CPUs."""
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(beside("deploy", "kubernetes.yaml").read_text()))
    deployment = next(document for document in documents if document["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    container["image"] = image
    container["command"][-1] = f"replicas={max(gpus, 1)}"
    container["resources"]["limits"] = {"nvidia.com/gpu": gpus} if gpus else CPUS
    return yaml.safe_dump_all(documents, sort_keys=False)

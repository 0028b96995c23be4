"""The manifests of deploy/kubernetes against published schemas, and what they promise. `pytest deploy/tests/test_kubernetes.py`.

Go fetches Tekton's and Argo's own CRDs. SOCIABLE_BIN is the `sociable` whose flags the manifests must use.
"""

import copy
import functools
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy/kubernetes"
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
IMAGE = f"ghcr.io/sociable/sociable:{VERSION}"
KUBERNETES = ["1.29", "1.37"]
# Where each project publishes the schemas of its kinds: Go module, and files in it.
CRDS = {
    "tekton.dev/v1": ("github.com/tektoncd/pipeline@v1.6.0", "config/300-crds/300-{}.yaml"),
    "argoproj.io/v1alpha1": (
        "github.com/argoproj/argo-workflows/v3@v3.7.4",
        "manifests/base/crds/full/argoproj.io_{}s.yaml",
    ),
}


def documents(file: Path) -> list[dict]:
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


ALL = [
    pytest.param(document, id=f"{file.relative_to(MANIFESTS)}:{document['kind']}")
    for file in sorted(MANIFESTS.rglob("*.yaml"))
    if file.name != "kustomization.yaml"
    for document in documents(file)
]


def one(file: str, kind: str) -> dict:
    (found,) = [document for document in documents(MANIFESTS / file) if document["kind"] == kind]
    return found


# ---- schemas ----


@functools.cache
def module(name: str) -> Path:
    if not shutil.which("go"):
        pytest.skip("Go is missing: it fetches the CRDs of Tekton and Argo")
    answer = subprocess.run(
        ["go", "mod", "download", "-json", name], cwd="/", capture_output=True, text=True, timeout=300
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return Path(json.loads(answer.stdout)["Dir"])


def strict(schema: dict) -> dict:
    """A CRD's schema as JSON Schema, in which a field that is not listed is an error, as in `kubectl --validate=strict`."""
    schema = dict(schema)
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        schema["properties"] = {name: strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            schema[name] = strict(schema[name])
    return schema


@functools.cache
def crd(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    name, path = CRDS[api_version]
    definition = yaml.safe_load((module(name) / path.format(kind.lower())).read_text())
    (schema,) = [
        version["schema"]["openAPIV3Schema"]
        for version in definition["spec"]["versions"]
        if version["name"] == api_version.split("/")[1]
    ]
    schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
    return jsonschema.Draft202012Validator(strict(schema))


def validate(document: dict) -> None:
    if document["apiVersion"] in CRDS:
        crd(document["apiVersion"], document["kind"]).validate(document)
    else:
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("document", ALL)
def test_schema(document):
    validate(document)


def paths(node, path=()):
    """Every mapping of a document."""
    if isinstance(node, dict):
        yield path
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from paths(child, (*path, key))


# Mappings of free form, and what Tekton leaves to Kubernetes.
FREE = {"labels", "annotations", "metadata", "data", "requests", "limits"}


@pytest.mark.parametrize("document", ALL)
def test_schemas_are_strict(document):
    """A field that does not exist is refused wherever it stands."""
    for path in paths(document):
        if FREE & set(path) or (document["kind"] == "Task" and path[:2] == ("spec", "volumes")):
            continue
        mutated = copy.deepcopy(document)
        functools.reduce(lambda node, key: node[key], path, mutated)["nonsense"] = "x"
        with pytest.raises(jsonschema.ValidationError):
            validate(mutated)
            pytest.fail(f"a field more at {path} is not noticed")


def test_tekton_volumes_are_those_of_kubernetes():
    volumes = one("tekton-task.yaml", "Task")["spec"]["volumes"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {"volumes": volumes, "containers": [{"name": "x"}]},
    }
    validate(pod)
    pod["spec"]["volumes"][0]["nonsense"] = {}
    with pytest.raises(jsonschema.ValidationError):
        validate(pod)


# ---- kustomize ----

README = (MANIFESTS / "README.md").read_text()
OVERLAY = re.search(r"```yaml\n(apiVersion: kustomize.*?)```", README, re.S)[1]
IRSA = re.search(r"```yaml\n(  - target: {kind: ServiceAccount.*?)```", README, re.S)[1]


def build(directory: Path) -> dict[str, dict]:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is missing: it builds the kustomizations")
    answer = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    built = {document["kind"]: document for document in yaml.safe_load_all(answer.stdout)}
    for document in built.values():
        validate(document)
    return built


@pytest.fixture
def overlay(tmp_path):
    """Builds the README's overlay, with lines more."""

    def built(more: str = "") -> dict[str, dict]:
        shutil.copytree(MANIFESTS, tmp_path / "kubernetes")
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine/kustomization.yaml").write_text(OVERLAY + more)
        return build(tmp_path / "mine")

    return built


def test_kustomization():
    assert build(MANIFESTS) == {
        "ConfigMap": one("settings.yaml", "ConfigMap"),
        "CronJob": one("cronjob.yaml", "CronJob"),
    }


def test_overlay(overlay):
    built = overlay()
    assert {document["metadata"]["namespace"] for document in built.values()} == {"sociable"}
    assert built["ConfigMap"]["data"]["REPOSITORY"] == "docker://registry.example/shop/*"
    assert_shards(built["CronJob"]["spec"]["jobTemplate"]["spec"], built["ConfigMap"], 8)


# EKS Pod Identity, which no annotation may stand before, and the README's lines for IRSA.
@pytest.mark.parametrize("lines, annotations", [
    ("components: [../kubernetes/ecr]\n", None),
    (IRSA, {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/sociable"}),
], ids=["Pod Identity", "IRSA"])
def test_ecr(overlay, lines, annotations):
    built = overlay(lines)
    assert built["ServiceAccount"]["metadata"].get("annotations") == annotations
    pod = built["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == built["ServiceAccount"]["metadata"]["name"]
    (container,) = pod["containers"]
    assert_restricted(pod, container)


# ---- what is promised ----


def pods():
    """Each container of `sociable`, with the pod that it is in."""
    for file, kind, *path in [
        ("job.yaml", "Job", "template", "spec"),
        ("cronjob.yaml", "CronJob", "jobTemplate", "spec", "template", "spec"),
    ]:
        pod = functools.reduce(lambda node, key: node[key], path, one(file, kind)["spec"])
        for container in pod["containers"]:
            yield pytest.param(pod, container, id=file)
    task = one("tekton-task.yaml", "Task")["spec"]
    for step in task["steps"]:
        yield pytest.param(task, step | {"resources": step["computeResources"]}, id="tekton-task.yaml")
    workflow = one("argo-workflow.yaml", "WorkflowTemplate")["spec"]
    for template in workflow["templates"]:
        if "container" in template:
            yield pytest.param(workflow, template["container"], id="argo-workflow.yaml")


PODS = list(pods())


def assert_restricted(pod: dict, container: dict) -> None:
    context = {**pod.get("securityContext", {}), **container["securityContext"]}
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
    assert "memory" in container["resources"]["limits"]
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        assert name not in pod
    assert all({"emptyDir", "secret"} & volume.keys() for volume in pod["volumes"])


@pytest.mark.parametrize("pod, container", PODS)
def test_containers(pod, container):
    assert container["image"] == IMAGE
    assert_restricted(pod, container)
    # A run keeps its temporary files, and what it knows of layers, in what can be written.
    mounted = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    cache = {entry["name"]: entry.get("value") for entry in container["env"]}["SOCIABLE_CACHE_DIR"]
    assert mounted == {"/tmp"} and cache.startswith("/tmp/")


def assert_shards(job: dict, settings: dict, wanted: int) -> None:
    (container,) = job["template"]["spec"]["containers"]
    assert "--shard=$(JOB_COMPLETION_INDEX)/$(SHARDS)" in container["args"]
    assert {"configMapRef": {"name": settings["metadata"]["name"]}} in container["envFrom"]
    assert job["completionMode"] == "Indexed"
    assert (job["completions"], job["parallelism"], int(settings["data"]["SHARDS"])) == (wanted,) * 3


def test_jobs():
    job, cron = one("job.yaml", "Job")["spec"], one("cronjob.yaml", "CronJob")["spec"]
    settings = one("settings.yaml", "ConfigMap")
    assert_shards(job, settings, 4)
    nightly = cron["jobTemplate"]["spec"]
    assert {**job, "activeDeadlineSeconds": nightly["activeDeadlineSeconds"]} == nightly
    assert cron["concurrencyPolicy"] == "Forbid"
    pod = job["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    (failing,) = [rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
    assert failing["onExitCodes"]["values"] == [2]
    # Every variable of an argument is there.
    known = settings["data"].keys() | {"JOB_COMPLETION_INDEX"}
    used = re.findall(r"\$\((\w+)\)", " ".join(pod["containers"][0]["args"]))
    assert set(used) == known


def test_argo():
    template = one("argo-workflow.yaml", "WorkflowTemplate")
    (steps,) = [each["steps"] for each in template["spec"]["templates"] if "steps" in each]
    (shard,) = [each for each in template["spec"]["templates"] if "container" in each]
    count = "{{workflow.parameters.shards}}"
    assert steps[0][0]["withSequence"] == {"count": count}
    assert f"--shard={{{{inputs.parameters.index}}}}/{count}" in shard["container"]["args"]
    # Variables of a workflow are parameters that it has.
    used = set(re.findall(r"{{workflow\.parameters\.([\w-]+)}}", json.dumps(template)))
    assert used == {each["name"] for each in template["spec"]["arguments"]["parameters"]}
    cron = one("argo-workflow.yaml", "CronWorkflow")["spec"]
    assert cron["workflowSpec"]["workflowTemplateRef"]["name"] == template["metadata"]["name"]
    assert cron["concurrencyPolicy"] == "Forbid"
    account = one("argo-workflow.yaml", "ServiceAccount")["metadata"]["name"]
    assert template["spec"]["serviceAccountName"] == account


def test_no_secrets():
    for file in MANIFESTS.rglob("*.yaml"):
        text = file.read_text()
        assert "kind: Secret" not in text, file
        assert not re.search(r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY|gh[ps]_\w{20,}|eyJ[\w-]{20,}", text), file
        assert not re.search(r"[\"']?auth[\"']?: *[\"'][A-Za-z0-9+/=]{8,}", text), file


# ---- the script of the Tekton task ----

DIGEST, INDEX, OTHER = ("sha256:" + digit * 64 for digit in "abc")


def script() -> str:
    (step,) = one("tekton-task.yaml", "Task")["spec"]["steps"]
    return step["script"]


def test_script_has_no_variables_of_tekton():
    assert not re.search(r"\$\(\s*(params|inputs|outputs|workspaces|results|tasks|context|steps|step)[.\[]", script())


@pytest.fixture
def run(tmp_path):
    """Runs the script with a `sociable` that notes what it is given, and answers."""

    def ran(answer: dict, code: int = 0, **environment: str):
        fake = tmp_path / "bin/sociable"
        fake.parent.mkdir(exist_ok=True)
        (tmp_path / "answer").write_text(json.dumps(answer, separators=(",", ":")) + "\n")
        fake.write_text(f'#!/bin/sh\ncd {tmp_path}\ncat >input\nprintf "%s\\n" "$@" >args\ncat answer\nexit {code}\n')
        fake.chmod(0o755)
        results = {name: tmp_path / name for name in ("IMAGE", "IMAGE_DIGEST", "SOCI_INDEX_DIGEST")}
        variables = {
            "PATH": f"{fake.parent}:{os.environ['PATH']}",
            "IMAGE": "r.example/app:1",
            "SUFFIX": "-soci",
            "SOCI_VERSION": "2",
            "DOCKER_CONFIG": "",
            **{f"RESULT_{name}": str(file) for name, file in results.items()},
            **environment,
        }
        done = subprocess.run(["sh", "-c", script()], env=variables, cwd=tmp_path, capture_output=True, text=True)
        return done, {name: file.read_text() for name, file in results.items() if file.exists()}

    return ran


def answer(result: str, **more) -> dict:
    return {"source": "docker://r.example/app:1", "destination": "docker://r.example/app:1-soci", "result": result, **more}


def test_script(run, tmp_path):
    platform = {"platform": "linux/amd64", "manifest": OTHER, "version": "v2", "layers": [{"digest": OTHER}]}
    blob = {"media_type": "application/vnd.oci.image.manifest.v1+json", "digest": INDEX, "size": 1}
    report = {
        "image": {"media_type": "application/vnd.oci.image.index.v1+json", "digest": DIGEST, "size": 2},
        "platforms": [platform | {"soci_index": blob}, platform | {"soci_index": blob | {"digest": OTHER}}],
    }
    done, results = run(answer("converted", image=DIGEST, report=report))
    assert done.returncode == 0, done.stderr
    assert results == {
        "IMAGE": f"r.example/app:1-soci@{DIGEST}",
        "IMAGE_DIGEST": DIGEST,
        "SOCI_INDEX_DIGEST": f"{INDEX}\n{OTHER}",
    }
    assert (tmp_path / "input").read_text() == "r.example/app:1\n"
    arguments = (tmp_path / "args").read_text().split()
    assert arguments == "convert --batch=- --tag-suffix=-soci --soci-version=2 --all-platforms --json".split()


def test_script_in_place(run, tmp_path):
    done, _ = run(answer("converted", image=DIGEST), SUFFIX="")
    assert done.returncode == 0, done.stderr
    assert "--tag-suffix" not in (tmp_path / "args").read_text()


def test_script_with_nothing_to_do(run):
    done, results = run(answer("skipped", why="no layer is large enough"))
    assert done.returncode == 0, done.stderr
    assert results == {"IMAGE": "r.example/app:1", "IMAGE_DIGEST": "", "SOCI_INDEX_DIGEST": ""}


def test_script_says_what_failed(run):
    done, results = run(answer("failed", why="no such image"), code=1)
    assert done.returncode == 1 and "no such image" in done.stdout and not results


@pytest.mark.parametrize("image", ["", "# none", "r.example/a:1\nr.example/b:2", "r.example/a:1 oci:elsewhere"])
def test_script_takes_one_image(run, tmp_path, image):
    done, _ = run(answer("converted"), IMAGE=image)
    assert done.returncode == 2 and not (tmp_path / "args").exists()


def test_script_does_not_run_parameters(run, tmp_path):
    hostile = "$(touch${IFS}made)`touch${IFS}made`;touch${IFS}made"
    run(answer("failed"), code=1, IMAGE=hostile, SUFFIX=hostile + " '\"", SOCI_VERSION=hostile)
    assert (tmp_path / "input").read_text() == hostile + "\n"
    assert f"--tag-suffix={hostile} '\"" in (tmp_path / "args").read_text().splitlines()
    assert not (tmp_path / "made").exists()


# ---- the flags ----


@pytest.fixture(scope="session")
def usage() -> str:
    binary = os.environ.get("SOCIABLE_BIN")
    if not binary:
        pytest.skip("SOCIABLE_BIN is not set: NO FLAG OF ANY MANIFEST WAS CHECKED")
    return subprocess.run([binary, "convert", "--help"], capture_output=True, text=True, check=True).stdout


def words(container: dict) -> list[str]:
    return container.get("args") or container["script"].split()


@pytest.mark.parametrize("pod, container", PODS)
def test_flags(usage, pod, container):
    flags = set(re.findall(r"--[a-z][a-z-]*", usage))
    used = {flag for word in words(container) for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", word)}
    assert "convert" in words(container) and used and used <= flags, used - flags
    variables = {entry["name"] for entry in container["env"] if entry["name"].startswith("SOCIABLE_")}
    assert all(f"[env: {name}" in usage for name in variables)

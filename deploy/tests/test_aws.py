"""The templates of deploy/aws: linted, created in moto, and their roles simulated. `pytest deploy/tests/test_aws.py`.

moto's CloudFormation does not know CodeCommit repositories, CodeBuild projects, pipelines, bucket policies and queue policies;
`moto_resources` makes them by the API calls that CloudFormation would make. What moto cannot tell at all: whether a pipeline runs.
"""

import ast
import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import cfnlint.decode.cfn_yaml
import moto_resources  # noqa: F401 - it registers resources
import parliament
import pytest
import yaml
from moto import mock_aws

AWS = Path(__file__).parents[1] / "aws"
TEMPLATES = ["cloudformation.yaml", "events.yaml"]
REGION = "us-east-1"
ACCOUNT = "123456789012"
CONNECTION = f"arn:aws:codeconnections:{REGION}:{ACCOUNT}:connection/0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f"
TOOLS = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/tools"
VARIANTS = {
    "one stage": ("cloudformation.yaml", {}),
    "two stages": ("cloudformation.yaml", {"Mode": "two-stage", "BuildSpec": "buildspec-docker.yml"}),
    "two stages, immutable": ("cloudformation.yaml", {"Mode": "two-stage", "TagImmutability": "IMMUTABLE"}),
    "connection": (
        "cloudformation.yaml",
        {"SourceProvider": "CodeConnections", "ConnectionArn": CONNECTION, "FullRepositoryId": "a-team/app"},
    ),
    "copies": ("cloudformation.yaml", {"Mode": "two-stage", "ToolRepositoryArns": f"{TOOLS},{TOOLS}-base"}),
    "events": ("events.yaml", {}),
    "events, team": ("events.yaml", {"RepositoryPrefix": "team/", "TagSuffix": "-soci"}),
}


# ── A stack, created in moto ──────────────────────────────────────────────────────────────────────────────────────────────────────


def document(value):
    """A policy or pattern, which moto may have as text, in JSON or as Python writes it."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = ast.literal_eval(value)
    return clean(value)


def clean(value):
    """Without what moto leaves of AWS::NoValue."""
    if isinstance(value, list):
        return [clean(item) for item in value if item is not None]
    if isinstance(value, dict):
        return {key: clean(item) for key, item in value.items() if item is not None}
    return value


class Stack:
    """What a template made."""

    def __init__(self, file, parameters):
        boto3.client("cloudformation", REGION).create_stack(
            StackName="soci-pipeline",
            TemplateBody=(AWS / file).read_text(),
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            Capabilities=["CAPABILITY_IAM"],
        )
        (made,) = boto3.client("cloudformation", REGION).describe_stacks(StackName="soci-pipeline")["Stacks"]
        assert made["StackStatus"] == "CREATE_COMPLETE"
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}

    @property
    def projects(self):
        """CodeBuild's projects, by the last part of their logical names."""
        client = boto3.client("codebuild", REGION)
        found = client.batch_get_projects(names=client.list_projects()["projects"])["projects"]
        return {project["name"].split("-")[2]: project for project in found}

    @property
    def pipeline(self):
        client = boto3.client("codepipeline", REGION)
        (name,) = [pipeline["name"] for pipeline in client.list_pipelines()["pipelines"]]
        return client.get_pipeline(name=name)["pipeline"]

    @property
    def rules(self):
        client = boto3.client("events", REGION)
        return {
            rule["Name"].split("-")[2]: document(rule["EventPattern"])
            for rule in client.list_rules()["Rules"]
        }

    def targets(self, rule):
        client = boto3.client("events", REGION)
        (name,) = [r["Name"] for r in client.list_rules()["Rules"] if r["Name"].split("-")[2] == rule]
        return client.list_targets_by_rule(Rule=name)["Targets"]

    def role(self, name):
        """A role by the last part of its logical name: whom it trusts, and its one policy."""
        client = boto3.client("iam", REGION)
        (role,) = [role for role in client.list_roles()["Roles"] if role["RoleName"].split("-")[2] == name]
        (policy,) = client.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]
        allowed = client.get_role_policy(RoleName=role["RoleName"], PolicyName=policy)["PolicyDocument"]
        assert not client.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
        return role["Arn"], document(role["AssumeRolePolicyDocument"]), document(allowed)

    @property
    def roles(self):
        client = boto3.client("iam", REGION)
        return [role["RoleName"].split("-")[2] for role in client.list_roles()["Roles"]]

    @property
    def bucket(self):
        (bucket,) = boto3.client("s3", REGION).list_buckets()["Buckets"]
        return bucket["Name"]


@pytest.fixture(scope="module")
def stack(request):
    """Created once for all tests of a variant, which pytest runs together."""
    file, parameters = VARIANTS[request.param]
    with mock_aws():
        yield Stack(file, parameters)


def made(*variants):
    return pytest.mark.parametrize("stack", variants or list(VARIANTS), indirect=True, scope="module")


def matches(pattern, event):
    """Whether EventBridge sends an event to a rule, by its documented meaning of patterns: the parts that are used here."""

    def one(wanted, value):
        if not isinstance(wanted, dict):
            return wanted == value
        ((kind, operand),) = wanted.items()
        if kind == "prefix":
            return value.startswith(operand)
        assert kind == "anything-but" and list(operand) == ["wildcard"], wanted
        return not any(fnmatch.fnmatchcase(value, glob) for glob in operand["wildcard"])

    for key, wanted in pattern.items():
        value = event.get(key)
        if isinstance(wanted, dict):
            if not isinstance(value, dict) or not matches(wanted, value):
                return False
        else:
            values = value if isinstance(value, list) else [value]
            if not any(each is not None and one(want, each) for want in wanted for each in values):
                return False
    return True


# ── Lint ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("file", TEMPLATES)
def test_cfn_lint(file):
    done = subprocess.run(
        [Path(sys.executable).parent / "cfn-lint", "--include-checks", "I", "--", AWS / file],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@made()
def test_policies_have_no_findings(stack):
    for name in stack.roles:
        _, _, policy = stack.role(name)
        findings = parliament.analyze_policy_string(json.dumps(policy)).findings
        assert not findings, (name, [str(finding) for finding in findings])


# ── What is made ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@made("one stage")
def test_one_stage(stack):
    assert sorted(stack.projects) == ["BuildProject"]
    build = stack.projects["BuildProject"]
    assert build["environment"]["privilegedMode"] is True
    assert build["source"]["buildspec"] == "buildspec.yml"
    variables = {variable["name"]: variable["value"] for variable in build["environment"]["environmentVariables"]}
    assert variables["REPOSITORY_URI"] == stack.outputs["Repository"]
    # All that the buildspec takes from outside is there, and nothing else.
    commands = "\n".join(line.split("#")[0] for line in (AWS / "buildspec.yml").read_text().splitlines())
    own = {"IMAGE", "IMAGE_DIGEST", "BUILDER", "CODEBUILD_RESOLVED_SOURCE_VERSION"}
    used = set(re.findall(r"\$\{?([A-Z_]{4,})", commands)) - own
    assert used | {"SOCIABLE_FRONTEND"} == set(variables)
    stages = [(stage["name"], [action["name"] for action in stage["actions"]]) for stage in stack.pipeline["stages"]]
    assert stages == [("Source", ["Source"]), ("Build", ["Build"])]


@made("two stages", "two stages, immutable")
def test_two_stages(stack):
    index = stack.projects["IndexProject"]
    assert index["environment"]["privilegedMode"] is False
    assert "containerd" not in index["source"]["buildspec"] and "docker " not in index["source"]["buildspec"]
    stage = stack.pipeline["stages"][2]
    (action,) = stage["actions"]
    assert action["configuration"]["ProjectName"] == index["name"]
    assert json.loads(action["configuration"]["EnvironmentVariables"]) == [
        {"name": "TAG", "value": "#{SourceVariables.CommitId}", "type": "PLAINTEXT"}
    ]
    mutability = boto3.client("ecr", REGION).describe_repositories(repositoryNames=["socidemoapp"])
    immutable = mutability["repositories"][0]["imageTagMutability"] == "IMMUTABLE"
    suffix = {v["name"]: v["value"] for v in index["environment"]["environmentVariables"]}["TAG_SUFFIX"]
    assert suffix == ("-soci" if immutable else "")


@made("one stage")
def test_a_push_starts_the_pipeline(stack):
    arn = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{stack.pipeline['name']}"
    (target,) = stack.targets("PushRule")
    role, _, _ = stack.role("PushRole")
    assert (target["Arn"], target["RoleArn"]) == (arn, role)
    repository = boto3.client("codecommit", REGION).get_repository(repositoryName="socidemoapp")
    push = {
        "id": "1",
        "account": ACCOUNT,
        "time": "2026-01-01T00:00:00Z",
        "region": REGION,
        "source": "aws.codecommit",
        "detail-type": "CodeCommit Repository State Change",
        "resources": [repository["repositoryMetadata"]["Arn"]],
        "detail": {"event": "referenceUpdated", "referenceType": "branch", "referenceName": "main"},
    }


    def push_matches(event):
        return matches(stack.rules["PushRule"], event)


    assert push_matches(push)
    assert not push_matches({**push, "detail": {**push["detail"], "referenceName": "other"}})
    assert not push_matches({**push, "detail": {**push["detail"], "event": "referenceDeleted"}})
    assert not push_matches({**push, "resources": ["arn:aws:codecommit:us-east-1:123456789012:another"]})
    # And the pipeline takes what was pushed from there.
    (source,) = stack.pipeline["stages"][0]["actions"]
    assert source["configuration"] == {
        "RepositoryName": "socidemoapp",
        "BranchName": "main",
        "PollForSourceChanges": "false",
    }


@made("connection")
def test_a_connection(stack):
    (source,) = stack.pipeline["stages"][0]["actions"]
    assert source["configuration"]["ConnectionArn"] == CONNECTION
    assert source["configuration"]["FullRepositoryId"] == "a-team/app"
    assert "PushRule" not in stack.rules
    client = boto3.client("codecommit", REGION)
    with pytest.raises(client.exceptions.RepositoryDoesNotExistException):
        client.get_repository(repositoryName="socidemoapp")


@made("one stage")
def test_images_and_artifacts(stack):
    # moto drops parts of these.
    template = cfnlint.decode.cfn_yaml.load(str(AWS / "cloudformation.yaml"))
    properties = template["Resources"]["ImageRepository"]["Properties"]
    assert properties["ImageScanningConfiguration"] == {"ScanOnPush": True}
    text = properties["LifecyclePolicy"]["LifecyclePolicyText"]["Fn::Sub"].replace("${ImagesToKeep}", "50")
    policy = json.loads(text)
    # A SOCI index is named by the image index that the tag is of: nothing else may take it, and untagged is only what no index names.
    assert [rule["selection"]["tagStatus"] for rule in policy["rules"]] == ["tagged", "untagged"]
    assert policy["rules"][0]["selection"]["countNumber"] == 50
    bucket = template["Resources"]["ArtifactBucket"]["Properties"]
    assert list(bucket["PublicAccessBlockConfiguration"].values()) == [True] * 4
    encryption = boto3.client("s3", REGION).get_bucket_encryption(Bucket=stack.bucket)
    (rule,) = encryption["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    logs = boto3.client("logs", REGION).describe_log_groups()["logGroups"]
    assert {group["logGroupName"]: group.get("retentionInDays") for group in logs} == {
        "/aws/codebuild/soci-pipeline-build": 30
    }
    assert stack.outputs["NextCommand"].startswith("git push codecommit::us-east-1://socidemoapp")


@made("events", "events, team")
def test_an_image_is_indexed_when_it_is_pushed(stack):
    index = stack.projects["IndexProject"]
    assert index["environment"]["privilegedMode"] is False
    (target,) = stack.targets("ImagePushed")
    role, _, _ = stack.role("StartRole")
    assert (target["Arn"], target["RoleArn"]) == (index["arn"], role)
    queue = boto3.client("sqs", REGION)
    (url,) = queue.list_queues()["QueueUrls"]
    attributes = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert target["DeadLetterConfig"] == {"Arn": attributes["QueueArn"]}
    (failed,) = stack.targets("RunFailed")
    assert failed["Arn"] == attributes["QueueArn"]
    # The template of the target is what StartBuild takes.
    template = target["InputTransformer"]["InputTemplate"]
    paths = target["InputTransformer"]["InputPathsMap"]
    assert paths == {"repository": "$.detail.repository-name", "tag": "$.detail.image-tag"}
    sent = json.loads(template.replace("<repository>", "team/app").replace("<tag>", "1"))
    boto3.client("codebuild", REGION).start_build(projectName=index["name"], **sent)
    assert {v["name"]: v["value"] for v in sent["environmentVariablesOverride"]} == {"REPOSITORY": "team/app", "TAG": "1"}
    # In place the tag is written once more, by the job; with a suffix such tags are none of the job's business.
    suffix = {v["name"]: v["value"] for v in index["environment"]["environmentVariables"]}["TAG_SUFFIX"]
    pushed = {"source": "aws.ecr", "detail-type": "ECR Image Action"}
    for repository_name, tag, action, expected in [
        ("team/app", "1", "PUSH", True),
        ("team/app", "1-soci", "PUSH", not suffix),
        ("team/app", "sha256-0123", "PUSH", False),
        ("team/app", "1", "DELETE", False),
        ("other/app", "1", "PUSH", not suffix),
    ]:
        detail = {"action-type": action, "result": "SUCCESS", "repository-name": repository_name, "image-tag": tag}
        assert matches(stack.rules["ImagePushed"], {**pushed, "detail": detail}) == expected, detail
    ended = {"source": "aws.codebuild", "detail-type": "CodeBuild Build State Change"}
    for project, status, expected in [
        (index["name"], "FAILED", True),
        (index["name"], "SUCCEEDED", False),
        ("another", "FAILED", False),
    ]:
        detail = {"project-name": project, "build-status": status}
        assert matches(stack.rules["RunFailed"], {**ended, "detail": detail}) == expected, detail


# ── Who may do what ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="session")
def simulate(tmp_path_factory):
    """Decides requests as IAM does, and refuses actions, resources and condition keys that AWS does not have."""
    if not shutil.which("npm"):
        pytest.skip("npm is missing: it fetches the simulator of IAM policies")
    place = Path(os.environ.get("SOCIABLE_NODE_MODULES", tmp_path_factory.mktemp("node")))
    shutil.copy(Path(__file__).parent / "package.json", place)
    shutil.copy(Path(__file__).parent / "package-lock.json", place)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=place, check=True)

    def run(simulations):
        done = subprocess.run(
            ["node", Path(__file__).parent / "simulate.mjs", place],
            input=json.dumps(simulations),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def request(principal, policies, action, resource, context=None, resource_policy=None):
    simulation = {
        "request": {
            "principal": principal,
            "action": action,
            "resource": {"resource": resource, "accountId": ACCOUNT},
            "contextVariables": context or {},
        },
        "identityPolicies": [{"name": "policy", "policy": policy} for policy in policies],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
    }
    if resource_policy:
        simulation["resourcePolicy"] = resource_policy
    return simulation


def repository(name):
    return f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{name}"


def log_stream(group):
    return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:1"


PULL = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
PUSH = ["ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage"]
# What no role of ours may do, wherever.
NEVER = [
    ("ecr:BatchDeleteImage", repository("socidemoapp")),
    ("ecr:DeleteRepository", repository("socidemoapp")),
    ("ecr:SetRepositoryPolicy", repository("socidemoapp")),
    ("ecr:PutLifecyclePolicy", repository("socidemoapp")),
    ("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/any"),
    ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/any"),
    ("sts:AssumeRole", f"arn:aws:iam::{ACCOUNT}:role/any"),
    ("s3:GetObject", "arn:aws:s3:::another-bucket/key"),
    ("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:any-abcdef"),
    ("codebuild:StartBuild", f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/another"),
    ("codebuild:UpdateProject", f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/any"),
    ("codepipeline:StartPipelineExecution", f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:another"),
    ("logs:PutLogEvents", log_stream("/aws/codebuild/another")),
]


def check(simulate, stack, role, may, may_not):
    arn, _, policy = stack.role(role)
    cases = [(case, "Allowed") for case in may] + [(case, "ImplicitlyDenied") for case in [*may_not, *NEVER]]
    results = simulate([request(arn, [policy], *case) for case, _ in cases])
    wrong = [(case, result) for (case, expected), result in zip(cases, results) if result != expected]
    assert not wrong, (role, wrong)


@made("one stage")
def test_the_build_may_do_what_it_does(stack, simulate):
    own = [repository("socidemoapp"), repository("socidemoapp-cache")]
    may = [(action, name) for name in own for action in [*PULL, *PUSH, "ecr:ListImages"]]
    may += [
        ("ecr:GetAuthorizationToken", "*"),
        ("s3:GetObject", f"arn:aws:s3:::{stack.bucket}/soci-pipeline/Source/abc"),
        ("logs:CreateLogStream", log_stream("/aws/codebuild/soci-pipeline-build")),
    ]
    may_not = [(action, repository("another")) for action in [*PULL, *PUSH]]
    may_not += [
        ("s3:PutObject", f"arn:aws:s3:::{stack.bucket}/soci-pipeline/Source/abc"),
        ("s3:DeleteObject", f"arn:aws:s3:::{stack.bucket}/soci-pipeline/Source/abc"),
        ("ecr:CreateRepository", repository("socidemoapp")),
    ]
    check(simulate, stack, "BuildRole", may, may_not)


@made("two stages")
def test_the_index_may_do_what_it_does(stack, simulate):
    may = [(action, repository("socidemoapp")) for action in [*PULL, *PUSH]] + [("ecr:GetAuthorizationToken", "*")]
    may_not = [(action, repository("socidemoapp-cache")) for action in [*PULL, *PUSH]]
    check(simulate, stack, "IndexRole", may, may_not)


@made("copies")
def test_copies_of_the_tools_may_be_pulled(stack, simulate):
    for role in ("BuildRole", "IndexRole"):
        check(simulate, stack, role, [(action, f"{TOOLS}-base") for action in PULL], [(action, TOOLS) for action in PUSH])


@made("one stage", "two stages", "connection")
def test_the_pipeline_may_do_what_it_does(stack, simulate):
    may = [("s3:PutObject", f"arn:aws:s3:::{stack.bucket}/soci-pipeline/Source/abc")]
    for project in stack.projects.values():
        may += [(action, project["arn"]) for action in ["codebuild:StartBuild", "codebuild:BatchGetBuilds"]]
    mine = f"arn:aws:codecommit:{REGION}:{ACCOUNT}:socidemoapp"
    code = [(action, mine) for action in ["codecommit:GetBranch", "codecommit:GetCommit", "codecommit:UploadArchive"]]
    use = [("codeconnections:UseConnection", CONNECTION)]
    connected = stack.pipeline["stages"][0]["actions"][0]["actionTypeId"]["provider"] != "CodeCommit"
    may, may_not = (may + use, code) if connected else (may + code, use)
    may_not += [("codecommit:GitPush", mine), ("ecr:PutImage", repository("socidemoapp"))]
    check(simulate, stack, "PipelineRole", may, may_not)


@made("one stage")
def test_a_push_may_start_the_pipeline(stack, simulate):
    pipeline = f"arn:aws:codepipeline:{REGION}:{ACCOUNT}:{stack.pipeline['name']}"
    may_not = [("codepipeline:StopPipelineExecution", pipeline), ("ecr:PutImage", repository("socidemoapp"))]
    check(simulate, stack, "PushRole", [("codepipeline:StartPipelineExecution", pipeline)], may_not)


@made("events, team")
def test_events_may_do_what_they_do(stack, simulate):
    index = stack.projects["IndexProject"]["arn"]
    check(simulate, stack, "StartRole", [("codebuild:StartBuild", index)], [("codebuild:StopBuild", index)])
    may = [(action, repository("team/app")) for action in [*PULL, *PUSH]] + [("ecr:GetAuthorizationToken", "*")]
    check(simulate, stack, "IndexRole", may, [(action, repository("other/app")) for action in [*PULL, *PUSH]])


@made("one stage")
def test_artifacts_go_over_tls_only(stack, simulate):
    arn, _, policy = stack.role("BuildRole")
    bucket = json.loads(boto3.client("s3", REGION).get_bucket_policy(Bucket=stack.bucket)["Policy"])
    key = f"arn:aws:s3:::{stack.bucket}/soci-pipeline/Source/abc"
    over = [request(arn, [policy], "s3:GetObject", key, {"aws:SecureTransport": tls}, bucket) for tls in ("true", "false")]
    assert simulate(over) == ["Allowed", "ExplicitlyDenied"]


@made()
def test_roles_trust_their_service_alone(stack):
    services = {
        "PushRole": "events.amazonaws.com",
        "StartRole": "events.amazonaws.com",
        "PipelineRole": "codepipeline.amazonaws.com",
        "BuildRole": "codebuild.amazonaws.com",
        "IndexRole": "codebuild.amazonaws.com",
    }
    for name in stack.roles:
        _, trust, _ = stack.role(name)
        (statement,) = trust["Statement"]
        assert statement["Principal"] == {"Service": services[name]}, name
        if name not in ("PushRole", "StartRole"):
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}, name

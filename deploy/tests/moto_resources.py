"""Resources that moto's CloudFormation does not know, made by the API calls that CloudFormation would make.

moto has their services (but for bucket and queue policies, it has all parts): each class turns a template's properties into the service's own
request, which botocore checks against the service's published model.
"""

import json

import boto3
from moto.core.common_models import CloudFormationModel

# Keys that an API spells otherwise than with a small first letter.
SPELLED = {"BuildSpec": "buildspec"}
# Maps whose keys are the user's own.
OPAQUE = {"Configuration"}


def request(value, opaque=False):
    """A template's properties, spelled as the service's API has them."""
    if isinstance(value, list):
        # moto leaves AWS::NoValue in lists as None.
        return [request(item, opaque) for item in value if item is not None]
    if isinstance(value, dict):
        # In maps of the user's own, CloudFormation makes texts of everything.
        return {
            key if opaque else SPELLED.get(key, key[0].lower() + key[1:]): request(item, opaque or key in OPAQUE)
            for key, item in value.items()
        }
    if opaque and isinstance(value, bool):
        return str(value).lower()
    return value


def resource(type_, name_property=""):
    """Registers a function `(logical name, properties, region) -> (physical name, what Fn::GetAtt gives)` with moto, which finds the
    direct subclasses of its model."""

    def register(make):
        def init(self, name, attributes):
            self.physical_resource_id = name
            self.attributes = attributes

        def create(cls, resource_name, cloudformation_json, account_id, region_name, **kwargs):
            return cls(*make(resource_name, cloudformation_json["Properties"], region_name))

        members = {
            # moto tells a model's service by its module.
            "__module__": "moto.cloudformation.models",
            "__init__": init,
            "cloudformation_type": staticmethod(lambda: type_),
            "cloudformation_name_type": staticmethod(lambda: name_property),
            "has_cfn_attr": classmethod(lambda cls, attr: True),
            "get_cfn_attribute": lambda self, attr: self.attributes[attr],
            "create_from_cloudformation_json": classmethod(create),
        }
        return type(type_.replace("::", ""), (CloudFormationModel,), members)

    return register


@resource("AWS::CodeCommit::Repository", "RepositoryName")
def code_commit(name, properties, region):
    made = boto3.client("codecommit", region).create_repository(
        repositoryName=properties["RepositoryName"], repositoryDescription=properties["RepositoryDescription"]
    )["repositoryMetadata"]
    return made["repositoryId"], {"Arn": made["Arn"], "Name": made["repositoryName"]}


@resource("AWS::CodeBuild::Project", "Name")
def code_build(name, properties, region):
    sent = request(properties)
    sent.setdefault("name", name)
    # moto wants places of sources and artifacts that have none: the pipeline's, and none.
    sent["source"].setdefault("location", "none")
    if sent["artifacts"]["type"] == "CODEPIPELINE":
        sent["artifacts"]["location"] = "none"
    made = boto3.client("codebuild", region).create_project(**sent)["project"]
    return made["name"], {"Arn": made["arn"]}


@resource("AWS::CodePipeline::Pipeline", "Name")
def code_pipeline(name, properties, region):
    sent = request(properties)
    sent.setdefault("name", name)
    sent.setdefault("version", 1)
    made = boto3.client("codepipeline", region).create_pipeline(pipeline=sent)["pipeline"]
    return made["name"], {"Version": made["version"]}


@resource("AWS::S3::BucketPolicy")
def bucket_policy(name, properties, region):
    bucket = properties["Bucket"]
    boto3.client("s3", region).put_bucket_policy(Bucket=bucket, Policy=json.dumps(properties["PolicyDocument"]))
    return f"{bucket}-policy", {}


@resource("AWS::SQS::QueuePolicy")
def queue_policy(name, properties, region):
    sqs = boto3.client("sqs", region)
    for queue in properties["Queues"]:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(properties["PolicyDocument"])})
    return name, {}

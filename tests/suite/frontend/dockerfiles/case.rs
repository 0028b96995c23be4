//! One Dockerfile, built both ways and compared.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use sociable_tests::frontend::{BUILDERS, Builder, buildx, sociable_buildx};
use sociable_tests::image::Image;
use sociable_tests::layout::Layout;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{reference, run, scale, sociable, tar};

use super::context::Context;
use super::index;

/// A Dockerfile, and how it is built.
#[derive(Debug)]
pub(super) struct Case<'a> {
    stack: &'static Stack,
    context: &'static Context,
    name: &'a str,
    builders: Vec<Builder>,
    options: Vec<String>,
    arguments: Vec<String>,
    plain_output: &'a str,
    same_times: bool,
    stdin: Option<Stdin<'a>>,
}

/// What is read from stdin.
#[derive(Debug)]
enum Stdin<'a> {
    Dockerfile,
    Context(&'a str),
}

impl<'a> Case<'a> {
    /// `dockerfiles/NAME.Dockerfile`; none, where there is no stack.
    pub(super) fn of(name: &'a str) -> Option<Self> {
        let stack = stack::start()?;
        let builders: &[_] = if scale() < 1.0 {
            &[Builder::Buildkitd]
        } else {
            &BUILDERS
        };
        Some(Self {
            context: Context::of(stack),
            stack,
            name,
            builders: builders.to_vec(),
            options: vec!["MIN_LAYER_SIZE=0".to_owned()],
            arguments: Vec::new(),
            plain_output: "",
            same_times: false,
            stdin: None,
        })
    }

    pub(super) fn context(&self) -> &'static Context {
        self.context
    }

    pub(super) fn registry(&self) -> String {
        self.stack.registry()
    }

    /// With these arguments of `docker buildx build`.
    pub(super) fn with<const N: usize>(mut self, arguments: [&str; N]) -> Self {
        self.arguments.extend(arguments.map(str::to_owned));
        self
    }

    /// With this option of Sociable's.
    pub(super) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// With this addition to `--output`, without Sociable.
    pub(super) fn plain_output(mut self, addition: &'a str) -> Self {
        self.plain_output = addition;
        self
    }

    /// Times in the config have to be the same, too.
    pub(super) fn same_times(mut self) -> Self {
        self.same_times = true;
        self
    }

    pub(super) fn only_on(mut self, builder: Builder) -> Self {
        self.builders = vec![builder];
        self
    }

    pub(super) fn dockerfile_on_stdin(mut self) -> Self {
        self.stdin = Some(Stdin::Dockerfile);
        self
    }

    pub(super) fn context_on_stdin(mut self, tar: &'a str) -> Self {
        self.stdin = Some(Stdin::Context(tar));
        self
    }

    /// As archives, both images are the same, and each layer of Sociable's has a right zTOC.
    pub(super) fn same(&self) {
        self.on_each(|builder| {
            let out = self.out("plain", builder);
            let output = format!("type=oci,dest={}{}", archive(&out), self.plain_output);
            self.build(self.buildx(builder), &["--output", &output]);
            let plain = Image::only(&unpacked(out));

            let layout = self.ours(builder);
            // Without layers there is nothing to index.
            if !plain.layers.is_empty() {
                let _ = run(&mut sociable(["verify", &layout.arg()])).ok();
            }
            let ours = Image::only(&layout);
            self.compare(builder, &plain, &ours);
            index::complete(&layout, &ours);
            if let Some(mut reference) = reference::start("frontend::dockerfiles") {
                index::read(&layout, &ours, &mut reference);
            }
        });
    }

    /// Builds with Sociable alone: an archive on one builder, a directory on the other.
    pub(super) fn ours(&self, builder: Builder) -> Layout {
        let out = self.out("ours", builder);
        let build = self.sociable_buildx(builder, &["OUTPUT=layout"]);
        if builder == Builder::Docker {
            let output = format!("type=local,dest={}", out.display());
            self.build(build, &["--output", &output]);
            return Layout::open(out);
        }
        let output = format!("type=tar,dest={}", archive(&out));
        self.build(build, &["--output", &output]);
        unpacked(out)
    }

    /// Pushed by BuildKit, both images are the same, and Sociable's has its index in the registry.
    pub(super) fn same_pushed(&self) {
        self.on_each(|builder| {
            let name = format!("dockerfiles-{}-{}", self.name, builder.word());
            let repository = format!("{}/{name}", self.stack.registry());
            let [plain, ours] = ["plain", "ours"].map(|tag| format!("{repository}:{tag}"));
            self.build(self.buildx(builder), &["--tag", &plain, "--push"]);
            let options = ["OUTPUT=image", &format!("REPO={repository}")];
            let build = self.sociable_buildx(builder, &options);
            self.build(build, &["--tag", &ours, "--push"]);
            let image = format!("docker://{ours}");
            let registry = self.stack.registry();
            let _ = run(&mut sociable(["verify", &image, "--plain-http", &registry])).ok();
            let [plain, ours] = [plain, ours].map(|image| Image::only(&self.pull(&image)));
            self.compare(builder, &plain, &ours);
        });
    }

    /// On all builders at once.
    fn on_each(&self, test: impl Fn(Builder) + Sync) {
        thread::scope(|scope| {
            for builder in &self.builders {
                scope.spawn(|| test(*builder));
            }
        });
    }

    fn compare(&self, builder: Builder, plain: &Image, ours: &Image) {
        if self.same_times {
            assert_eq!(plain.times(), ours.times());
        }
        let found = plain.differences(ours);
        let (name, builder, found) = (self.name, builder.word(), found.join("\n"));
        assert!(
            found.is_empty(),
            "{name} on {builder}, without Sociable and with it:\n{found}"
        );
    }

    fn out(&self, kind: &str, builder: Builder) -> PathBuf {
        let name = format!("dockerfiles-out/{}-{}-{kind}", self.name, builder.word());
        self.stack.dir(&name)
    }

    fn buildx(&self, builder: Builder) -> Command {
        buildx(self.stack, builder, &self.context.files)
    }

    fn sociable_buildx(&self, builder: Builder, options: &[&str]) -> Command {
        let ours = self.options.iter().map(String::as_str);
        let options: Vec<_> = options.iter().copied().chain(ours).collect();
        sociable_buildx(self.stack, builder, &self.context.files, &options)
    }

    fn build(&self, mut build: Command, arguments: &[&str]) {
        let file = format!("{}.Dockerfile", self.name);
        let file = self.context.dockerfiles.join(file);
        let open = |path: &Path| File::open(path).expect("a file");
        build.args(&self.arguments).args(arguments);
        match self.stdin {
            None => build.arg("--file").arg(&file).arg("."),
            Some(Stdin::Dockerfile) => build.args(["--file", "-", "."]).stdin(open(&file)),
            Some(Stdin::Context(tar)) => build.arg("-").stdin(open(&self.context.files.join(tar))),
        };
        let done = run(&mut build);
        assert_eq!(done.code, Some(0), "{}\n{}", done.command, done.stderr);
    }

    fn pull(&self, image: &str) -> Layout {
        let (_, name) = image.split_once('/').expect("a repository");
        let dir = self.stack.dir("dockerfiles-pulled").join(name);
        let pull = format!(
            "crane pull --insecure --format oci {image} {}",
            dir.display()
        );
        let _ = self.stack.run(&pull).ok();
        Layout::open(dir)
    }
}

fn archive(out: &Path) -> String {
    out.join("image.tar").display().to_string()
}

fn unpacked(out: PathBuf) -> Layout {
    let bytes = fs::read(archive(&out)).expect("an archive");
    tar::unpack(&bytes, &out);
    Layout::open(out)
}

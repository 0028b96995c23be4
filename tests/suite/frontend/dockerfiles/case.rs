//! One Dockerfile, built both ways and compared.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use sociable_tests::frontend::{BUILDERS, Builder, buildx, sociable_buildx};
use sociable_tests::image::Image;
use sociable_tests::layout::Layout;
use sociable_tests::stack::{self, Stack};
use sociable_tests::{run, sociable, tar};

use super::context::Context;

/// A Dockerfile, and how it is built.
#[derive(Debug)]
pub(super) struct Case<'a> {
    stack: &'static Stack,
    context: &'static Context,
    name: &'a str,
    builders: Vec<Builder>,
    options: Vec<String>,
    arguments: Vec<String>,
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
        Some(Self {
            context: Context::of(stack),
            stack,
            name,
            builders: BUILDERS.to_vec(),
            options: vec!["MIN_LAYER_SIZE=0".to_owned()],
            arguments: Vec::new(),
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

    /// Both images are the same, and the layers of Sociable's have right zTOCs.
    pub(super) fn same(&self) {
        for builder in &self.builders {
            let plain = self.plain(*builder);
            let ours = self.ours(*builder);
            let found = Image::only(&plain).differences(&Image::only(&ours));
            assert!(
                found.is_empty(),
                "{} on {}, without Sociable and with it:\n{}",
                self.name,
                builder.word(),
                found.join("\n")
            );
        }
    }

    fn out(&self, kind: &str, builder: Builder) -> PathBuf {
        let name = format!("dockerfiles-out/{}-{}-{kind}", self.name, builder.word());
        self.stack.dir(&name)
    }

    fn plain(&self, builder: Builder) -> Layout {
        let out = self.out("plain", builder);
        let archive = out.join("image.tar");
        let build = buildx(self.stack, builder, &self.context.files);
        self.build(build, &format!("type=oci,dest={}", archive.display()));
        unpacked(&archive, out)
    }

    fn ours(&self, builder: Builder) -> Layout {
        let out = self.out("ours", builder);
        let archive = out.join("image.tar");
        let mut options = vec!["OUTPUT=layout"];
        options.extend(self.options.iter().map(String::as_str));
        let build = sociable_buildx(self.stack, builder, &self.context.files, &options);
        self.build(build, &format!("type=tar,dest={}", archive.display()));
        self.verify(&archive);
        unpacked(&archive, out)
    }

    fn build(&self, mut build: Command, output: &str) {
        let file = self
            .context
            .dockerfiles
            .join(format!("{}.Dockerfile", self.name));
        build.args(&self.arguments).args(["--output", output]);
        let open = |path: &Path| File::open(path).expect("a file");
        match self.stdin {
            None => build.arg("--file").arg(&file).arg("."),
            Some(Stdin::Dockerfile) => build.args(["--file", "-", "."]).stdin(open(&file)),
            Some(Stdin::Context(tar)) => build.arg("-").stdin(open(&self.context.files.join(tar))),
        };
        let done = run(&mut build);
        assert_eq!(done.code, Some(0), "{}\n{}", done.command, done.stderr);
    }

    fn verify(&self, archive: &Path) {
        let archive = format!("oci-archive:{}", archive.display());
        let _ = run(&mut sociable(["verify", &archive])).ok();
    }
}

fn unpacked(archive: &Path, out: PathBuf) -> Layout {
    let bytes = fs::read(archive).expect("an archive");
    tar::unpack(&bytes, &out);
    Layout::open(out)
}

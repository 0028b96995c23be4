//! `--soci-policy`: policies as a build names them, and the build context that their files are in.

use std::path::{Path, PathBuf};

use sociable_oci::Access;
use sociable_oci::registry::{Reference, RepositoryName};
use sociable_policy::spec::{self, CONTEXT, Named, Place};

use super::flags::DockerArgs;
use crate::error::CliError;
use crate::policy::fetch::{self, Component};
use crate::policy::lock;

/// Policies as a build names them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Policies {
    /// The value of `SOCI_POLICY`.
    pub(super) text: String,
    /// The directory that their files are in, if they have any.
    pub(super) context: Option<PathBuf>,
    /// Where components come from.
    pub(super) repositories: Vec<RepositoryName>,
}

impl Policies {
    /// What a user named; files become relative to the deepest directory that holds them all, unless the user gives the build a
    /// context of that name.
    ///
    /// # Errors
    /// When a build cannot be told.
    pub(super) fn new(named: &[String], args: &DockerArgs) -> Result<Self, CliError> {
        let own = args.texts("build-context");
        let own = own.iter().any(|context| {
            context
                .split_once('=')
                .is_some_and(|(name, _)| name == CONTEXT)
        });
        let mut this = Self::default();
        let mut files = Vec::new();
        for text in named {
            let mut wrong = None;
            let mut look = |named: Named<'_>| {
                match place(named) {
                    Place::BuiltIn => {}
                    Place::Registry(reference) => match reference.parse::<Reference>() {
                        Ok(reference) => this.repositories.push(reference.name),
                        Err(error) => wrong = Some(error.to_string()),
                    },
                    Place::File(file) => files.push(file.to_owned()),
                    Place::Transport(_) => {
                        wrong = Some(
                            "a build takes components from oci://HOST/REPO:TAG and from files"
                                .to_owned(),
                        );
                    }
                }
                String::new()
            };
            let _ = spec::renamed(text, &mut look);
            if let Some(why) = wrong {
                return Err(CliError::usage(format!("--soci-policy {text}: {why}")));
            }
        }
        let directory = if own || files.is_empty() {
            None
        } else {
            Some(common_directory(&files)?)
        };
        let texts = named.iter().map(|text| {
            spec::renamed(text, &mut |named| match (place(named), named, &directory) {
                (Place::File(name), Named::Policy(_), Some(directory)) => {
                    format!("./{}", within(name, directory))
                }
                (Place::File(file), Named::File(_), Some(directory)) => within(file, directory),
                (_, Named::Policy(name) | Named::File(name), _) => name.to_owned(),
            })
        });
        let texts: Vec<_> = texts.collect();
        this.text = texts.join(";");
        if spec::list(&this.text).len() != named.len() {
            return Err(CliError::usage(format!(
                "--soci-policy {}: a build cannot be told of policies or files with semicolons",
                named.join(" ")
            )));
        }
        this.context = directory.map(|directory| {
            // Shorter, where the command is shown.
            match std::env::current_dir() {
                Ok(here) if here == directory => PathBuf::from("."),
                _ => directory,
            }
        });
        Ok(this)
    }

    /// The words for docker's command.
    pub(super) fn context(&self) -> Option<[std::ffi::OsString; 2]> {
        let directory = self.context.as_ref()?;
        let mut context = std::ffi::OsString::from(format!("{CONTEXT}="));
        context.push(directory);
        Some(["--build-context".into(), context])
    }
}

/// The same policies, with components that are in a lock file alone; a tag gets the digest that it had when it was looked at.
///
/// # Errors
/// When one is not in it, or cannot be had.
pub(crate) fn locked(
    named: &[String],
    file: &Path,
    access: &Access,
) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    for text in named {
        let mut failed = None;
        let mut check = |named: Named<'_>| {
            let (Named::Policy(name) | Named::File(name)) = named;
            let is_policy = matches!(named, Named::Policy(_));
            if !is_policy || matches!(place(named), Place::BuiltIn | Place::Transport(_)) {
                return name.to_owned();
            }
            pinned(name, file, access).unwrap_or_else(|error| {
                failed = Some(error);
                name.to_owned()
            })
        };
        all.push(spec::renamed(text, &mut check));
        if let Some(error) = failed {
            return Err(error);
        }
    }
    Ok(all)
}

fn pinned(reference: &str, file: &Path, access: &Access) -> Result<String, CliError> {
    let component = Component::fetch(reference, access)?;
    lock::check(file, &component)?;
    Ok(match component.manifest {
        Some(digest) if !reference.contains('@') => format!("{reference}@{digest}"),
        _ => reference.to_owned(),
    })
}

/// Where something is that was named.
fn place(named: Named<'_>) -> Place<'_> {
    match named {
        Named::File(file) => Place::File(file),
        Named::Policy(name) => fetch::place(name),
    }
}

fn absolute(file: &str) -> Result<PathBuf, CliError> {
    Path::new(file)
        .canonicalize()
        .map_err(CliError::io("read", file))
}

fn common_directory(files: &[String]) -> Result<PathBuf, CliError> {
    let mut common: Option<PathBuf> = None;
    for file in files {
        let mut directory = absolute(file)?;
        directory.pop();
        common = Some(match common {
            None => directory,
            Some(mut common) => {
                while !directory.starts_with(&common) {
                    common.pop();
                }
                common
            }
        });
    }
    Ok(common.unwrap_or_default())
}

/// A file's name in a directory that holds it.
fn within(file: &str, directory: &Path) -> String {
    let path = absolute(file).unwrap_or_default();
    let path = path.strip_prefix(directory).unwrap_or(&path);
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(named: &[&str], words: &[&str]) -> Result<Policies, CliError> {
        let named: Vec<_> = named.iter().map(ToString::to_string).collect();
        let words: Vec<_> = words.iter().map(Into::into).collect();
        Policies::new(&named, &DockerArgs::new(&words))
    }

    #[test]
    fn files_become_a_build_context() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().canonicalize().expect("a directory");
        std::fs::create_dir(root.join("traces")).expect("a directory");
        for file in ["x.wasm", "traces/a.json"] {
            std::fs::write(root.join(file), "x").expect("a file");
        }
        let shown = root.display();
        let trace = format!("profile=trace=@{shown}/traces/a.json");
        let component = format!("span={shown}/x.wasm");
        let both = policies(&[&component, &trace, "oci://r.example/p:1"], &[]).expect("policies");
        assert_eq!(
            both.text,
            "span=./x.wasm;profile=trace=@traces/a.json;oci://r.example/p:1"
        );
        assert_eq!(both.context.as_deref(), Some(&*root));
        assert_eq!(both.repositories.len(), 1);
        let one = policies(&[&trace], &[]).expect("policies");
        assert_eq!(one.text, "profile=trace=@a.json");
        assert_eq!(one.context, Some(root.join("traces")));
        let own = policies(&["./x.wasm"], &["--build-context", "policy=d"]).expect("policies");
        assert_eq!((own.text.as_str(), own.context), ("./x.wasm", None));
        let plain = policies(&["adaptive=small=1"], &[]).expect("policies");
        assert_eq!(
            (plain.text.as_str(), plain.context),
            ("adaptive=small=1", None)
        );
        for wrong in ["./nowhere.wasm", "x=a=b;c"] {
            assert!(policies(&[wrong], &[]).is_err(), "{wrong}");
        }
    }
}

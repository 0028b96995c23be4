//! What leaves a build: how our frontend's `SOCI_OUTPUT` follows from `--push`, `--load` and `-o`.
//!
//! | the user says | `SOCI_OUTPUT` | what leaves |
//! |---|---|---|
//! | `--push`, `-o type=registry`, `-o type=image,push=true` | `image` | BuildKit pushes the image; the frontend has put index and zTOCs beside it |
//! | `-o type=oci[,dest=FILE][,tar=false]` | `layout` | a layout, as files: `-o type=tar` or `type=local`, since BuildKit's own exporter would leave the index out |
//! | `-o type=cacheonly` | – | nothing |
//! | `--load`, `-o type=docker`, `-o type=image`, nothing | – | what docker makes without us: images in a builder or in Docker have no room for an index |
//! | `-o type=local`, `-o type=tar`, `-o DIR` | refused | files of the root file system are no image |

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use sociable_oci::registry::Reference;
use sociable_oci::registry::reference::ParseReferenceError;

use super::export::{self, Export};
use super::flags::{Arg, DockerArgs};

/// How image and index leave the build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Into a registry.
    Image,
    /// As a layout.
    Layout,
    /// Into a registry, by the frontend itself: only who asks for it by its name gets it.
    Push,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "image",
            Self::Layout => "layout",
            Self::Push => "push",
        })
    }
}

/// Where something can be looked at afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    Registry(Reference),
    Directory(PathBuf),
    Archive(PathBuf),
    Stdout,
}

/// What was found out about a build's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outputs {
    /// `None` if there will be no index.
    pub(crate) mode: Option<Mode>,
    /// Where image and index will be.
    pub(crate) places: Vec<Place>,
    /// What the user should know.
    pub(crate) notes: Vec<String>,
}

impl Outputs {
    /// Whether the image is none that docker knows, so that its digest, too, is ours to say.
    pub(crate) fn are_behind_docker(&self) -> bool {
        matches!(self.mode, Some(Mode::Layout | Mode::Push))
    }

    /// What is pushed.
    pub(crate) fn references(&self) -> impl Iterator<Item = &Reference> {
        self.places.iter().filter_map(|place| match place {
            Place::Registry(reference) => Some(reference),
            _ => None,
        })
    }
}

/// Why what the user wants cannot be had together with an index.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OutputError {
    #[error(
        "-o {0} writes the files of the image's root file system, which is no image and has no index"
    )]
    RootFs(String),
    #[error("{0} is an image layout, which cannot be made together with {1} in one build")]
    Together(String, String),
    #[error("an image that is pushed needs a name")]
    NoName,
    #[error("-o {output}: {attribute} cannot be had together with an index: {why}")]
    Attribute {
        output: String,
        attribute: String,
        why: &'static str,
    },
    #[error(transparent)]
    Name(#[from] ParseReferenceError),
}

impl OutputError {
    pub(crate) fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::RootFs(_) => {
                "for an OCI layout use -o type=oci,dest=FILE (with tar=false, a directory); for the files use docker buildx build"
            }
            Self::Together(..) => {
                "run two builds: the second one finds everything in the build cache"
            }
            Self::NoName => "name it: -t HOST/REPO:TAG",
            Self::Attribute { .. } => "leave it out",
            Self::Name(_) => return None,
        })
    }
}

/// Works out what a build's outputs mean, and writes those that our frontend makes as BuildKit has to see them.
pub(crate) fn map(args: &mut DockerArgs) -> Result<Outputs, OutputError> {
    let texts = args.texts("output");
    let exports: Vec<(&String, Export)> = texts
        .iter()
        .filter_map(|text| Some((text, Export::parse(text)?)))
        .collect();
    if let Some((text, _)) = exports
        .iter()
        .find(|(_, export)| matches!(&*export.kind, "local" | "tar"))
    {
        return Err(OutputError::RootFs((*text).clone()));
    }
    let layout = exports.iter().find(|(_, export)| export.kind == "oci");
    if let Some((text, _)) = layout {
        let other = |(text, export): &(&String, Export)| {
            (!matches!(&*export.kind, "oci" | "cacheonly")).then(|| format!("-o {text}"))
        };
        let other = exports.iter().find_map(other).or_else(|| {
            ["push", "load"]
                .iter()
                .find_map(|switch| args.is_on(switch).then(|| format!("--{switch}")))
        });
        return match other {
            Some(other) => Err(OutputError::Together(format!("-o {text}"), other)),
            None => self::layout(args, &exports),
        };
    }
    let push = args.is_on("push");
    let pushed: Vec<&(&String, Export)> = exports
        .iter()
        .filter(|(_, export)| export.is_pushed() || (push && export.kind == "image"))
        .collect();
    if push || !pushed.is_empty() {
        return image(args, &pushed);
    }
    if !exports.is_empty() && exports.iter().all(|(_, export)| export.kind == "cacheonly") {
        return Ok(Outputs::default());
    }
    Ok(plain())
}

/// The same where the user has given `SOCI_OUTPUT` and knows what goes together; nothing is changed.
pub(crate) fn by_hand(
    args: &DockerArgs,
    how: &str,
    repositories: Option<&str>,
) -> Result<Outputs, OutputError> {
    let texts = args.texts("output");
    let exports: Vec<Export> = texts
        .iter()
        .filter_map(|text| Export::parse(text))
        .collect();
    let mut outputs = Outputs::default();
    match how {
        "image" | "push" => {
            let mode = if how == "push" {
                Mode::Push
            } else {
                Mode::Image
            };
            outputs.mode = Some(mode);
            let tags = args.texts("tag");
            let repositories = repositories.map(|all| all.split(',').map(str::to_owned).collect());
            // `image` pushes by tag, `push` to where it is told.
            let names = match repositories {
                Some(repositories) if mode == Mode::Push || tags.is_empty() => repositories,
                _ => tags,
            };
            for name in names {
                outputs.places.push(Place::Registry(name.parse()?));
            }
        }
        "layout" => {
            outputs.mode = Some(Mode::Layout);
            for export in &exports {
                outputs.places.extend(match (&*export.kind, export.dest()) {
                    ("local", Some(dest)) => Some(Place::Directory(dest.into())),
                    ("tar", Some(dest)) if dest != "-" => Some(Place::Archive(dest.into())),
                    ("tar", _) => Some(Place::Stdout),
                    _ => None,
                });
            }
        }
        _ => {}
    }
    Ok(outputs)
}

/// What an exporter of BuildKit's does to layers or manifests that were made already.
fn refuse_changes(text: &str, export: &Export) -> Result<(), OutputError> {
    let compression = export.get("compression").is_some_and(|how| how != "gzip");
    for (refused, attribute, why) in [
        (
            compression,
            "compression",
            "SOCI indexes layers in gzip only",
        ),
        (
            export.is_on("rewrite-timestamp"),
            "rewrite-timestamp",
            "it changes layers after they were indexed",
        ),
        (
            export.get("oci-mediatypes").is_some() && !export.is_on("oci-mediatypes"),
            "oci-mediatypes=false",
            "Docker's own manifests have no room for it",
        ),
    ] {
        if refused {
            return Err(OutputError::Attribute {
                output: text.to_owned(),
                attribute: attribute.to_owned(),
                why,
            });
        }
    }
    Ok(())
}

fn image(args: &DockerArgs, pushed: &[&(&String, Export)]) -> Result<Outputs, OutputError> {
    for (text, export) in pushed {
        refuse_changes(text, export)?;
    }
    // As buildx: tags take the place of names.
    let mut names = args.texts("tag");
    if names.is_empty() {
        names = pushed
            .iter()
            .filter_map(|(_, export)| export.get("name"))
            .flat_map(|names| names.split(','))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
    }
    if names.is_empty() {
        return Err(OutputError::NoName);
    }
    let by_digest = |(_, export): &&(&String, Export)| export.is_on("push-by-digest");
    let untagged = !pushed.is_empty() && pushed.iter().all(by_digest);
    let places = names
        .iter()
        .map(|name| {
            let mut reference: Reference = name.parse()?;
            if untagged {
                reference.tag = None;
            }
            Ok(Place::Registry(reference))
        })
        .collect::<Result<_, OutputError>>()?;
    Ok(Outputs {
        mode: Some(Mode::Image),
        places,
        notes: Vec::new(),
    })
}

fn layout(args: &mut DockerArgs, exports: &[(&String, Export)]) -> Result<Outputs, OutputError> {
    let mut outputs = Outputs {
        mode: Some(Mode::Layout),
        ..Outputs::default()
    };
    for (text, export) in exports.iter().filter(|(_, export)| export.kind == "oci") {
        refuse_changes(text, export)?;
        // Without names: what the frontend makes is found by its digest, and its compression is the one that was asked for.
        let known = ["dest", "tar", "name", "compression", "oci-mediatypes"];
        let lost: Vec<&str> = export
            .names()
            .filter(|name| !known.contains(name))
            .collect();
        if !lost.is_empty() {
            let lost = lost.join(", ");
            outputs.notes.push(format!(
                "-o {text}: nothing comes of {lost}, since the layout is not BuildKit's own"
            ));
        }
        let is_dir = export.get("tar").is_some() && !export.is_on("tar");
        outputs.places.push(match export.dest() {
            None | Some("-") if !is_dir => Place::Stdout,
            Some(dest) if is_dir => Place::Directory(dest.into()),
            Some(dest) => Place::Archive(dest.into()),
            None => Place::Directory(PathBuf::new()),
        });
    }
    for annotation in args.texts("annotation") {
        outputs.notes.push(format!(
            "nothing comes of --annotation {annotation}: the layout is not BuildKit's own"
        ));
    }
    for arg in &mut args.0 {
        if let Arg::Value {
            name: "output",
            value,
        } = arg
            && let Some(export) = Export::parse(&value.to_string_lossy())
            && export.kind == "oci"
        {
            *value = as_files(&export);
        }
    }
    Ok(outputs)
}

/// BuildKit's exporter for files in the place of its exporter for layouts.
fn as_files(export: &Export) -> OsString {
    let is_dir = export.get("tar").is_some() && !export.is_on("tar");
    let kind = if is_dir { "type=local" } else { "type=tar" };
    match export.dest() {
        Some(dest) => export::line([kind, &format!("dest={dest}")]).into(),
        None if is_dir => kind.into(),
        None => export::line([kind, "dest=-"]).into(),
    }
}

fn plain() -> Outputs {
    let note = "this build makes no SOCI index, since its image stays in Docker or in the builder. \
                Push it to a registry (-t HOST/REPO:TAG --push), or write a layout (-o type=oci,dest=FILE)";
    Outputs {
        notes: vec![note.to_owned()],
        ..Outputs::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> DockerArgs {
        let words = shlex::split(line).expect("a line");
        DockerArgs::new(&words.into_iter().map(OsString::from).collect::<Vec<_>>())
    }

    fn shown(args: &DockerArgs) -> String {
        let words: Vec<String> = args
            .words()
            .map(|w| w.into_string().expect("text"))
            .collect();
        shlex::try_join(words.iter().map(String::as_str)).expect("no NUL")
    }

    /// The mode, the places, and the command as docker gets it.
    fn mapped(line: &str) -> Result<(String, Vec<String>, String), OutputError> {
        let mut args = args(line);
        let outputs = map(&mut args)?;
        let mode = outputs
            .mode
            .map_or_else(String::new, |mode| mode.to_string());
        let places = outputs.places.iter().map(|place| match place {
            Place::Registry(reference) => reference.to_string(),
            Place::Directory(path) => format!("oci:{}", path.display()),
            Place::Archive(path) => format!("oci-archive:{}", path.display()),
            Place::Stdout => "-".to_owned(),
        });
        Ok((mode, places.collect(), shown(&args)))
    }

    #[test]
    fn into_a_registry() {
        for (line, names) in [
            ("-t r.example/a:1 --push .", &["r.example/a:1"][..]),
            (
                "-t r.example/a:1 -t b/c --push .",
                &["r.example/a:1", "docker.io/b/c:latest"],
            ),
            ("-t r.example/a -o type=registry .", &["r.example/a:latest"]),
            ("-o type=registry,name=r.example/a:1 .", &["r.example/a:1"]),
            (
                "-o 'type=image,\"name=r.example/a:1,r.example/b:1\",push=true' .",
                &["r.example/a:1", "r.example/b:1"],
            ),
            // Tags take the place of names.
            (
                "-o type=image,name=x/y,push=true -t r.example/a:1 .",
                &["r.example/a:1"],
            ),
            (
                "-o type=image,name=r.example/a,push-by-digest=true,push=true .",
                &["r.example/a"],
            ),
            (
                "-o type=image --push -t r.example/a:1 .",
                &["r.example/a:1"],
            ),
            ("--load --push -t r.example/a:1 .", &["r.example/a:1"]),
            (
                "-o type=docker --push -t r.example/a:1 .",
                &["r.example/a:1"],
            ),
            (
                "-o type=registry,compression=gzip,oci-mediatypes=true -t r.example/a:1 .",
                &["r.example/a:1"],
            ),
        ] {
            let (mode, places, command) = mapped(line).expect(line);
            assert_eq!(mode, "image", "{line}");
            assert_eq!(places, names, "{line}");
            assert_eq!(
                command,
                shown(&args(line)),
                "{line}: docker gets what the user gave"
            );
        }
    }

    #[test]
    fn into_a_layout() {
        for (line, place, command) in [
            (
                "-o type=oci,dest=a.tar .",
                "oci-archive:a.tar",
                "--output 'type=tar,dest=a.tar' .",
            ),
            (
                "-o type=oci,dest=d,tar=false .",
                "oci:d",
                "--output 'type=local,dest=d' .",
            ),
            (
                "-o type=oci,dest=a.tar,tar=true .",
                "oci-archive:a.tar",
                "--output 'type=tar,dest=a.tar' .",
            ),
            ("-o type=oci .", "-", "--output 'type=tar,dest=-' ."),
            ("-o type=oci,dest=- .", "-", "--output 'type=tar,dest=-' ."),
            (
                "-o '\"dest=a,b\",type=oci' .",
                "oci-archive:a,b",
                "--output 'type=tar,\"dest=a,b\"' .",
            ),
            (
                "-t x -o type=oci,dest=a,name=x --push=false .",
                "oci-archive:a",
                "--tag x --output 'type=tar,dest=a' '--push=false' .",
            ),
        ] {
            let (mode, places, docker) = mapped(line).expect(line);
            assert_eq!(
                (mode.as_str(), docker.as_str()),
                ("layout", command),
                "{line}"
            );
            assert_eq!(places, [place], "{line}");
        }
        let (_, places, _) =
            mapped("-o type=oci,dest=a -o type=oci,dest=d,tar=false .").expect("two layouts");
        assert_eq!(places, ["oci-archive:a", "oci:d"]);
    }

    #[test]
    fn without_an_index() {
        for (line, notes) in [
            (".", 1),
            ("-t a .", 1),
            ("--load .", 1),
            ("-o type=docker .", 1),
            ("-o type=docker,dest=a.tar .", 1),
            ("-o type=image,name=a .", 1),
            ("--push=false .", 1),
            ("-o type=image,push=false .", 1),
            ("-o type=tomorrow .", 1),
            ("-o type=cacheonly .", 0),
        ] {
            let mut given = args(line);
            let outputs = map(&mut given).expect(line);
            assert_eq!((outputs.mode, outputs.places.len()), (None, 0), "{line}");
            assert_eq!(outputs.notes.len(), notes, "{line}");
            assert_eq!(given, args(line), "{line}");
        }
    }

    #[test]
    fn refused() {
        for (line, why) in [
            ("-o out .", "root file system"),
            ("-o - .", "root file system"),
            ("-o type=local,dest=d .", "root file system"),
            ("-o type=tar,dest=f --push -t a .", "root file system"),
            ("-o type=oci,dest=f --push -t a .", "together with --push"),
            ("-o type=oci,dest=f --load .", "together with --load"),
            (
                "-o type=oci,dest=f -o type=registry -t a .",
                "together with -o type=registry",
            ),
            (
                "-o type=docker -o type=oci,dest=f .",
                "together with -o type=docker",
            ),
            ("--push .", "needs a name"),
            ("-o type=registry .", "needs a name"),
            ("--push -t UPPER .", "no image reference"),
            ("-t a -o type=registry,compression=zstd .", "gzip only"),
            ("-o type=oci,compression=uncompressed .", "gzip only"),
            (
                "-t a -o type=image,push=true,rewrite-timestamp=true .",
                "after they were indexed",
            ),
            ("-t a -o type=registry,oci-mediatypes=false .", "no room"),
        ] {
            let error = mapped(line).expect_err(line).to_string();
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn what_is_lost_is_said() {
        let mut given = args("-o type=oci,dest=f,annotation.x=y --annotation a=b .");
        let notes = map(&mut given).expect("a layout").notes.join("\n");
        assert!(
            notes.contains("annotation.x") && notes.contains("a=b"),
            "{notes}"
        );
    }
}

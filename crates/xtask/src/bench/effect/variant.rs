//! The ways of indexing or packing an image that are compared.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use super::image::Made;
use super::start::Engine;
use crate::bench;

/// Where the components of `plugins/` are.
pub(super) struct Plugins {
    pub(super) rust: PathBuf,
    /// In JavaScript and Python.
    pub(super) others: PathBuf,
}

pub(super) struct Variant {
    pub(super) name: &'static str,
    how: How,
}

/// How an image becomes another one, with these options of `sociable`. In an option, [`TRACE`] is the recorded workload's trace, and
/// [`RUST`] and [`OTHERS`] are directories with components.
enum How {
    /// Not at all: it has no index.
    Plain,
    /// The layer stays as it is.
    Convert(&'static [&'static str]),
    /// The same files become another layer.
    Pack(&'static [&'static str]),
}

/// What `soci convert` makes, too, and what others are compared with.
pub(super) const DEFAULT: &str = "default: spans of 4 MiB";

const TRACE: &str = "TRACE";
const RUST: &str = "RUST/";
const OTHERS: &str = "OTHERS/";
const PROFILE: &str = "profile=trace=@TRACE";
const ORDER: &str = "order=profile=trace=@TRACE";

pub(super) const VARIANTS: &[Variant] = &[
    Variant::new("no index, pulled whole", How::Plain),
    Variant::new(DEFAULT, How::Convert(&[])),
    Variant::new("default, compact zTOC", How::Convert(&["--compact-ztoc"])),
    Variant::new("spans of 1 MiB", How::Convert(&["--span-size=1MiB"])),
    Variant::new("spans of 256 KiB", How::Convert(&["--span-size=256KiB"])),
    Variant::new("file-aligned", How::Convert(&["--policy=file-aligned"])),
    Variant::new(
        "plugin file-aligned",
        How::Convert(&["--policy=RUST/sociable_file_aligned.wasm"]),
    ),
    Variant::new(
        "plugin ml-weights",
        How::Convert(&["--policy=OTHERS/ml-weights.wasm"]),
    ),
    Variant::new("adaptive", How::Convert(&["--policy=adaptive"])),
    Variant::new("profile", How::Convert(&["--policy", PROFILE])),
    Variant::new("packed anew", How::Pack(&[])),
    Variant::new(
        "packed, store-incompressible",
        How::Pack(&["--policy=store-incompressible"]),
    ),
    Variant::new(
        "packed, plugin file-type-compression",
        How::Pack(&["--policy=OTHERS/file-type-compression.wasm"]),
    ),
    Variant::new(
        "packed, plugin startup-order",
        How::Pack(&["--policy=RUST/sociable_startup_order.wasm=trace=@TRACE"]),
    ),
    Variant::new(
        "packed in the profile's order",
        How::Pack(&["--policy", ORDER]),
    ),
    Variant::new("packed by profile", How::Pack(&["--policy", PROFILE])),
];

impl Variant {
    const fn new(name: &'static str, how: How) -> Self {
        Self { name, how }
    }

    pub(super) fn engine(&self) -> Engine {
        match self.how {
            How::Plain => Engine::Eager,
            How::Convert(_) | How::Pack(_) => Engine::Lazy,
        }
    }

    /// Makes this variant of an image in a layout; or says why there is none.
    pub(super) fn make(
        &self,
        sociable: &Path,
        plugins: &Plugins,
        image: &Made,
        to: &Path,
    ) -> Result<Option<String>> {
        bench::remove(to)?;
        let (task, from, options) = match self.how {
            How::Plain => {
                bench::copy(&image.layout, to)?;
                return Ok(None);
            }
            How::Convert(options) => (
                "convert",
                format!("oci:{}", image.layout.display()),
                options,
            ),
            How::Pack(options) => ("pack", image.root.display().to_string(), options),
        };
        let trace = image.trace.display().to_string();
        let mut command = Command::new(sociable);
        command
            .args([task, "--quiet", "--no-cache"])
            .args(options.iter().map(|option| {
                let option = option.replace(TRACE, &trace);
                let option = option.replace(RUST, &format!("{}/", plugins.rust.display()));
                option.replace(OTHERS, &format!("{}/", plugins.others.display()))
            }))
            .arg(from)
            .arg(format!("oci:{}", to.display()))
            .stdin(Stdio::null());
        let done = command.output()?;
        let errors = String::from_utf8_lossy(&done.stderr);
        match done.status.code() {
            Some(0) => Ok(None),
            // Usage: this `sociable` has no such option.
            Some(2) => Ok(Some(errors.lines().next().unwrap_or("no usage").to_owned())),
            _ => bail!("{command:?}: {}\n{errors}", done.status),
        }
    }
}

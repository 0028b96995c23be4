//! Real images to start: Debian with a language's runtime and libraries, all in one layer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

use crate::bench;
use crate::sh;

pub(super) struct Image {
    pub(super) name: &'static str,
    packages: &'static [&'static str],
    /// The one that a profile is made of.
    pub(super) recorded: Workload,
    /// Another one of the same image.
    pub(super) other: Workload,
}

/// What is run.
pub(super) struct Workload {
    pub(super) words: &'static [&'static str],
    /// What is in its output.
    pub(super) prints: &'static str,
}

pub(super) const IMAGES: [Image; 2] = [
    Image {
        name: "python",
        packages: &["python3-numpy", "python3-pandas", "python3-scipy"],
        recorded: Workload {
            words: &[
                "python3",
                "-c",
                "import numpy, pandas; print(pandas.DataFrame(numpy.eye(3)).sum().sum())",
            ],
            prints: "3.0",
        },
        other: Workload {
            words: &["python3", "-c", "import scipy.stats, sqlite3; print(1)"],
            prints: "1",
        },
    },
    Image {
        name: "jvm",
        packages: &["default-jre-headless", "libh2-java", "groovy"],
        recorded: Workload {
            words: &[
                "java",
                "-cp",
                "/usr/share/java/h2.jar",
                "org.h2.tools.Shell",
                "-url",
                "jdbc:h2:mem:",
                "-sql",
                "SELECT SUM(X) FROM SYSTEM_RANGE(1, 3)",
            ],
            prints: "6\n(1 row",
        },
        other: Workload {
            words: &["groovy", "-e", "println([1, 2, 3].sum())"],
            prints: "6",
        },
    },
];

/// An image on disk.
pub(super) struct Made {
    pub(super) root: PathBuf,
    /// The root as a layer that any tool could have made, in a layout.
    pub(super) layout: PathBuf,
    /// What the recorded workload reads.
    pub(super) trace: PathBuf,
}

impl Image {
    /// Makes the image, and records what its workload reads; kept for the next time.
    pub(super) fn make(&self, place: &Path, sociable: &Path) -> Result<Made> {
        let made = self.make_layout(place)?;
        if !made.trace.is_file() {
            // With the kernel's read-ahead on the snapshotter's own mounts.
            let mut record = Command::new(sociable);
            record
                .args(["trace", "run", "--read-ahead", "128KiB", "--output"])
                .arg(&made.trace)
                .arg(&made.root)
                .arg("--")
                .args(self.recorded.words)
                .stdin(Stdio::null());
            sh::run(&mut record)?;
        }
        Ok(made)
    }

    fn make_layout(&self, place: &Path) -> Result<Made> {
        let place = place.join("effect").join(self.name);
        let made = Made {
            root: place.join("root"),
            layout: place.join("image"),
            trace: place.join("trace.json"),
        };
        if made.layout.join("index.json").is_file() {
            return Ok(made);
        }
        println!("Making an image with {} (once) …", self.packages.join(", "));
        bench::remove(&made.layout)?;
        fs::create_dir_all(&place)?;
        if !made.root.is_dir() {
            let mut script = sh::command("bash", ["benches/effect/rootfs.sh"]);
            sh::run(script.arg(&made.root).args(self.packages))?;
        }
        let mut top: Vec<_> = fs::read_dir(&made.root)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<Result<_>>()?;
        top.sort();
        ensure!(!top.is_empty(), "{} is empty", made.root.display());
        let tar = place.join("layer.tar");
        let options = ["--sort=name", "--numeric-owner", "-cf"];
        let mut archive = sh::command("tar", options);
        sh::run(archive.arg(&tar).arg("-C").arg(&made.root).args(top))?;
        bench::create_layout(&made.layout)?;
        let (layer, diff_id) = bench::compress(&sh::reference()?, &tar, &made.layout)?;
        bench::finish_layout(&made.layout, &[layer], &[diff_id])?;
        Ok(made)
    }
}

//! `cargo xtask bench --effect`: what a container start fetches, by how its image was indexed or packed.
//!
//! Nothing is imitated: images are Debian's, containers are Docker's, layers are mounted by soci-snapshotter, and a registry counts.

mod image;
mod start;
mod variant;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use self::image::{IMAGES, Image};
use self::start::{Fetched, start};
use self::variant::{DEFAULT, Plugins, VARIANTS};
use crate::{plugins, sh, stack};

/// What each start has fetched, for each variant that there is.
type Starts = Vec<(&'static str, Vec<Fetched>)>;

pub(super) fn run(place: &Path, rounds: usize, markdown: bool) -> Result<()> {
    let sociable = sh::sociable()?;
    if let Some(why) = stack::prepare()? {
        bail!("{why}");
    }
    if let Some(why) = plugins::interpreted_missing() {
        bail!("{why}");
    }
    let plugins = Plugins {
        rust: plugins::build()?,
        others: plugins::interpreted()?,
    };
    let mut tables = Vec::new();
    for image in &IMAGES {
        let [recorded, other] = measure(image, place, &sociable, &plugins, rounds)?;
        tables.push((image.name, "recorded", &image.recorded, recorded));
        tables.push((image.name, "another", &image.other, other));
    }
    for (image, which, workload, starts) in tables {
        let words = workload.words.join(" ");
        println!("\n{image}, {which} workload: `{words}`; MB\n");
        print(&starts, markdown)?;
    }
    Ok(())
}

/// All variants of an image, with the recorded workload and with the other one.
fn measure(
    image: &Image,
    place: &Path,
    sociable: &Path,
    plugins: &Plugins,
    rounds: usize,
) -> Result<[Starts; 2]> {
    let made = image.make(place, sociable)?;
    let layout = place.join("effect/variant");
    let workloads = [("recorded", &image.recorded), ("another", &image.other)];
    let mut starts = [vec![], vec![]];
    for variant in VARIANTS {
        let what = format!("{}, {}", image.name, variant.name);
        if let Some(why) = variant.make(sociable, plugins, &made, &layout)? {
            println!("{what}: SKIPPED: {why}");
            continue;
        }
        for ((which, workload), starts) in workloads.iter().zip(&mut starts) {
            let mut all = Vec::new();
            for round in 1..=rounds {
                let fetched = start(sociable, &layout, variant.engine(), workload)
                    .with_context(|| format!("{what}, {which} workload"))?;
                println!(
                    "{what}, {which} workload, round {round}: {} bytes, {} of them of the layer in {} requests",
                    fetched.total(),
                    fetched.layers,
                    fetched.requests
                );
                all.push(fetched);
            }
            starts.push((variant.name, all));
        }
    }
    super::remove(&layout)?;
    Ok(starts)
}

fn print(starts: &Starts, markdown: bool) -> Result<()> {
    let default = starts.iter().find(|(name, _)| *name == DEFAULT);
    let (_, default) = default.context("the default was not measured")?;
    let row = |(name, all): &(&str, Vec<Fetched>)| {
        [
            (*name).to_owned(),
            range(all, |f| f.ztocs, megabytes),
            range(all, |f| f.layers, megabytes),
            range(all, |f| f.requests, |n| n.to_string()),
            range(all, Fetched::total, megabytes),
            ratio(total(all), total(default)),
        ]
    };
    let rows: Vec<_> = starts.iter().map(row).collect();
    let head = [
        "variant",
        "zTOC",
        "spans",
        "requests",
        "total",
        "of default",
    ];
    super::print_rows(&head.map(str::to_owned), &rows, markdown);
    Ok(())
}

fn total(all: &[Fetched]) -> u64 {
    all.iter().map(Fetched::total).sum()
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn ratio(one: u64, other: u64) -> String {
    format!("{:.2}", one as f64 / other as f64)
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// A number of all rounds; the least and the most where they look different.
fn range(all: &[Fetched], of: impl Fn(&Fetched) -> u64, show: impl Fn(u64) -> String) -> String {
    let least = show(all.iter().map(&of).min().unwrap_or(0));
    let most = show(all.iter().map(&of).max().unwrap_or(0));
    if least == most {
        least
    } else {
        format!("{least} to {most}")
    }
}

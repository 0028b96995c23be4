//! `cargo xtask bench --effect`: what a container start fetches, by how its image was indexed or packed.
//!
//! Nothing is imitated: images are Debian's, containers are Docker's, layers are mounted by soci-snapshotter, and a registry counts.

mod image;
mod start;
mod variant;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use self::image::{IMAGES, Image, Workload};
use self::start::{Fetched, start};
use self::variant::{DEFAULT, VARIANTS};
use crate::{sh, stack};

pub(super) fn run(place: &Path, rounds: usize, markdown: bool) -> Result<()> {
    let sociable = sh::sociable()?;
    if let Some(why) = stack::prepare()? {
        bail!("{why}");
    }
    for image in &IMAGES {
        measure(image, place, &sociable, rounds, markdown)?;
    }
    Ok(())
}

/// All variants of an image, with both workloads; two tables.
fn measure(
    image: &Image,
    place: &Path,
    sociable: &Path,
    rounds: usize,
    markdown: bool,
) -> Result<()> {
    let made = image.make(place)?;
    let layout = place.join("effect/variant");
    let workloads = [("recorded", &image.recorded), ("another", &image.other)];
    let mut found: [Vec<(&str, Vec<Fetched>)>; 2] = [vec![], vec![]];
    for variant in VARIANTS {
        if let Some(why) = variant.make(sociable, &made, &layout)? {
            println!("{}, {}: SKIPPED: {why}", image.name, variant.name);
            continue;
        }
        for ((which, workload), found) in workloads.iter().zip(&mut found) {
            let mut all = Vec::new();
            for round in 1..=rounds {
                let fetched = start(sociable, &layout, variant.engine(), workload)
                    .with_context(|| format!("{}, {}, {which}", image.name, variant.name))?;
                println!(
                    "{}, {}, {which}, round {round}: {} in {} requests, {} in all",
                    image.name,
                    variant.name,
                    sh::mb(fetched.layers),
                    fetched.requests,
                    sh::mb(fetched.total()),
                );
                all.push(fetched);
            }
            found.push((variant.name, all));
        }
    }
    super::remove(&layout)?;
    for ((which, workload), found) in workloads.iter().zip(&found) {
        print(
            &format!("{}, {which} workload", image.name),
            workload,
            found,
            markdown,
        )?;
    }
    Ok(())
}

fn print(
    what: &str,
    workload: &Workload,
    found: &[(&str, Vec<Fetched>)],
    markdown: bool,
) -> Result<()> {
    let default = found.iter().find(|(name, _)| *name == DEFAULT);
    let (_, default) = default.context("the default was not measured")?;
    let rows: Vec<_> = found
        .iter()
        .map(|(name, all)| {
            [
                (*name).to_owned(),
                range(all, |f| f.ztocs, megabytes),
                range(all, |f| f.layers, megabytes),
                range(all, |f| f.requests, |n| n.to_string()),
                range(all, Fetched::total, megabytes),
                ratio(total(all), total(default)),
            ]
        })
        .collect();
    println!("\n{what}: `{}`; MB\n", workload.words.join(" "));
    let head = [
        "variant",
        "zTOC",
        "spans",
        "requests",
        "total",
        "of default",
    ];
    super::print_rows(&head.map(str::to_owned), &rows, markdown);
    println!();
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

//! `cargo xtask demo`: a real directory becomes an image; one of its files comes back through the index.

use std::fs;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::sh::{self, mb};

pub(crate) fn run() -> Result<()> {
    println!("Building sociable …");
    let sociable = sh::sociable()?;
    let (dir, files) = sh::real_directory(50_000_000, 300_000_000);
    let image = sh::target().join("demo/image");
    if image.exists() {
        fs::remove_dir_all(&image).context("remove the image of an earlier demo")?;
    }
    fs::create_dir_all(image.parent().context("a parent")?)?;
    let image = format!("oci:{}", image.display());

    println!(
        "\nPacking {} ({} files, {}) into {image}\n",
        dir.display(),
        files.len(),
        mb(sh::total(&files))
    );
    let start = Instant::now();
    sh::run(Command::new(&sociable).arg("pack").arg(&dir).arg(&image))?;
    println!(
        "\nPacked in {:.1} s. The image, with its index:\n",
        start.elapsed().as_secs_f64()
    );
    sh::run(Command::new(&sociable).args(["inspect", &image]))?;

    let small = files
        .iter()
        .filter(|f| (10_000..1_000_000).contains(&f.size));
    let chosen = small
        .max_by_key(|f| f.size)
        .context("no file of a fitting size")?;
    let inside = chosen
        .path
        .strip_prefix(&dir)
        .context("a path below the directory")?;
    println!(
        "\nReading {} ({}) through the index, without the rest of the layer:\n",
        inside.display(),
        mb(chosen.size)
    );
    let content = sh::read(
        Command::new(&sociable)
            .args(["cat", "-v", &image])
            .arg(inside),
    )?;
    ensure!(
        content == fs::read(&chosen.path)?,
        "it is not the file that was packed"
    );
    println!(
        "\nThe same {} bytes as the original. The image stays at {image}: try `sociable ls`, `verify`.",
        content.len()
    );
    Ok(())
}

//! Developer tasks. `cargo xtask help` lists them.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for the terminal: printing is what it is for"
)]

mod bench;
mod demo;
mod deploy;
mod frontend;
mod fuzz;
mod image;
mod plugins;
mod sh;
mod stack;
mod test;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask demo                    packs a real directory, shows the image, reads one file through its index
cargo xtask test [--fast]           everything: format, lints, docs, tests, the suite, fuzz smoke runs
cargo xtask bench [--registry | --build | --policies | --effect] [--rounds N] [--markdown]
                                    measures against the SOCI Go library, and packing against tar | gzip;
                                    --effect counts what the start of a container fetches
cargo xtask fuzz [TARGET] [--seconds N]
                                    fuzzes one target or each in turn (60 s), on stable Rust
cargo xtask frontend [amd64] [arm64]
                                    the BuildKit frontend as static binaries, and what makes an image of them
cargo xtask image [amd64] [arm64]   the static sociable, with what else is in its image (needs Go)
cargo xtask stack prepare|up|exec CMD…|status|down
                                    a real registry, Docker, containerd and soci-snapshotter: see tests/README.md
cargo xtask help                    this";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.first().map(String::as_str) {
        Some("demo") => none_left(&args[1..]).and_then(|()| demo::run()),
        Some("test") => test::run(&args[1..]),
        Some("bench") => bench::run(&args[1..]),
        Some("fuzz") => fuzz::run(&args[1..]),
        Some("frontend") => frontend::run(&args[1..]),
        Some("image") => image::run(&args[1..]),
        Some("stack") => stack::run(&args[1..]),
        None | Some("help" | "--help" | "-h") => {
            println!("{HELP}");
            Ok(())
        }
        Some(other) => Err(anyhow::anyhow!("no task {other:?}; there are:\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn none_left(args: &[String]) -> anyhow::Result<()> {
    anyhow::ensure!(args.is_empty(), "what is {:?}?\n{HELP}", args[0]);
    Ok(())
}

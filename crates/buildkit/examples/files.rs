//! A frontend with a language of its own, in fifty lines: each line of the build file, `PATH = TEXT`, becomes a file of the image.
//!
//! ```text
//! # syntax=REPOSITORY/files
//! /etc/greeting = Hello, $NAME!
//! ```
//!
//! `$NAME` is what `--build-arg NAME=…` says. A path that ends in `*` copies that file of the build context.

use std::process::ExitCode;

use sociable_buildkit::llb::files::Files;
use sociable_buildkit::llb::{Graph, Source};
use sociable_buildkit::{Error, Gateway, Options, Reply, frontend};

fn main() -> ExitCode {
    frontend::run(build)
}

async fn build(gateway: &Gateway, options: &Options) -> Result<Reply, Error> {
    let mut graph = Graph::default();
    let name = options.get("filename").unwrap_or("Dockerfile");
    let source = Source::new("local://dockerfile")
        .attribute("local.followpaths", &format!("[{name:?}]"))
        .named(format!("[internal] load {name}"));
    let file = graph.add(source);
    let text = gateway
        .read_file(&gateway.solve(&graph, &file).await?, name)
        .await?;
    let text =
        String::from_utf8(text).map_err(|_| Error::message(format!("{name} is no UTF-8")))?;

    let context = graph.add(Source::new("local://context").named("[internal] load build context"));
    let mut files = Files::on(None);
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (path, value) = line.split_once(" = ").ok_or_else(|| {
            Error::message(format!("{name}:{}: expected PATH = TEXT", number + 1))
        })?;
        let (directory, _) = path.rsplit_once('/').unwrap_or_default();
        files = files.directory(&format!("{directory}/"), 0o755);
        files = if let Some(path) = path.strip_suffix('*') {
            files.copy(&context, value, path)
        } else {
            let filled = options
                .build_args()
                .fold(value.to_owned(), |text, (arg, value)| {
                    text.replace(&format!("${arg}"), value)
                });
            files.write(path, 0o644, filled + "\n")
        };
    }
    let image = graph.add(files.named(format!("write what {name} says")));
    Ok(Reply::of(gateway.solve(&graph, &image).await?))
}

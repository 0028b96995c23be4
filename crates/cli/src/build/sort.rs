//! Which words behind `build` are ours, and which are docker's.
//!
//! Clap knows our options, but not docker's, and so could not tell a flag from the value of an unknown one. Therefore the words
//! are sorted first: docker's go behind a `--`, in their order, and clap reads the rest like any other command's. Flags that docker has are
//! docker's (`-q`, `--progress`); others that we have are ours; what nobody knows is docker's.

use std::ffi::OsString;

use clap::{ArgAction, Command};

use super::flags::{Arg, DockerArgs, Name, Takes, take_apart};

/// The command line with docker's words behind a `--`; any other command's as it is.
pub(crate) fn sorted(argv: Vec<OsString>, mut cli: Command) -> Vec<OsString> {
    // Gives subcommands the global options.
    cli.build();
    let Some(at) = subcommand(&argv, &cli).filter(|at| argv[*at] == "build") else {
        return argv;
    };
    let Some(build) = cli.find_subcommand("build") else {
        return argv;
    };
    let mut argv = argv;
    let behind = argv.split_off(at + 1);
    let (mut ours, mut dockers) = (Vec::new(), Vec::new());
    for arg in take_apart(behind, |name| takes(build, name)) {
        match arg {
            Arg::Ours(words) => ours.extend(words),
            arg => dockers.push(arg),
        }
    }
    argv.extend(ours);
    argv.push("--".into());
    argv.extend(DockerArgs(dockers).words());
    argv
}

/// Where the subcommand is.
fn subcommand(argv: &[OsString], cli: &Command) -> Option<usize> {
    let mut words = argv.iter().enumerate().skip(1);
    while let Some((at, word)) = words.next() {
        let text = word.to_str()?;
        let flag = match (text.strip_prefix("--"), text.strip_prefix('-')) {
            (Some(long), _) if long.contains('=') => continue,
            (Some(long), _) => Name::Long(long),
            // Of several letters in one word, the last can take the next word.
            (None, Some(letters)) => Name::Short(letters.chars().last()?),
            (None, None) => return Some(at),
        };
        if takes(cli, flag) == Some(Takes::Value) {
            words.next();
        }
    }
    None
}

fn takes(command: &Command, name: Name<'_>) -> Option<Takes> {
    let arg = command.get_arguments().find(|arg| match name {
        Name::Long(name) => arg.get_long() == Some(name),
        Name::Short(letter) => arg.get_short() == Some(letter),
    })?;
    Some(match arg.get_action() {
        ArgAction::Set | ArgAction::Append => Takes::Value,
        _ => Takes::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::args::Cli;

    fn words(line: &str) -> Vec<OsString> {
        let words = shlex::split(line).expect("a line");
        words.into_iter().map(OsString::from).collect()
    }

    #[test]
    fn words_go_where_they_belong() {
        for (given, expected) in [
            ("s build .", "s build -- ."),
            ("s build -t a --push .", "s build -- --tag a --push ."),
            ("s build --json . -t a", "s build --json -- . --tag a"),
            ("s build --ca f --push .", "s build --ca f -- --push ."),
            ("s build --ca=f .", "s build --ca=f -- ."),
            (
                "s build . --soci-span-size 1MiB",
                "s build --soci-span-size 1MiB -- .",
            ),
            (
                "s build --plain-http h:1 --plain-http i .",
                "s build --plain-http h:1 --plain-http i -- .",
            ),
            // Values are values, whatever they look like.
            ("s build -t --json .", "s build -- --tag --json ."),
            (
                "s build --build-arg --ca=x .",
                "s build -- --build-arg --ca=x .",
            ),
            // Docker has these, too.
            (
                "s build -q --progress plain .",
                "s build -- --quiet --progress plain .",
            ),
            (
                "s build --platform linux/arm64 .",
                "s build -- --platform linux/arm64 .",
            ),
            ("s build -vq .", "s build -v -- --quiet ."),
            ("s build -qvt a .", "s build -v -- --quiet --tag a ."),
            ("s build --help", "s build --help --"),
            ("s build -h", "s build -h --"),
            ("s build --tomorrow .", "s build -- --tomorrow ."),
            ("s build -- --json", "s build -- -- --json"),
            // Options before the command.
            ("s -v build .", "s -v build -- ."),
            ("s --ca build build .", "s --ca build build -- ."),
            ("s --authfile=f build .", "s --authfile=f build -- ."),
            // Other commands.
            ("s convert oci:build build", "s convert oci:build build"),
            ("s ztoc build f --output g", "s ztoc build f --output g"),
            ("s --version", "s --version"),
            ("s", "s"),
        ] {
            let sorted = sorted(words(given), Cli::command());
            assert_eq!(sorted, words(expected), "{given}");
        }
    }

    #[test]
    fn no_option_of_ours_hides_one_of_dockers() {
        let mut cli = Cli::command();
        cli.build();
        let build = cli.find_subcommand("build").expect("build");
        let clash: Vec<&str> = build
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .filter(|long| {
                let args = take_apart([format!("--{long}=x").into()], |_| Some(Takes::Value));
                !matches!(args[..], [Arg::Ours(_)])
            })
            .collect();
        assert_eq!(
            clash,
            ["progress", "quiet"],
            "these two mean the same to both"
        );
    }
}

//! Dockerfiles of all kinds give with Sociable's frontend the image that they give without it.
//!
//! Each is built by BuildKit's own frontend, then, from the same cache, by Sociable's. Both images must have the same config, and in
//! each layer the same entries in the same order; but for the times at which something was made, and for how a layer is compressed.
//!
//! The Dockerfiles are in `dockerfiles/`; `REGISTRY` in them is that of the stack. ADD of a Git repository is left out: the stack has
//! no Git.

mod case;
mod context;
mod index;

use std::os::unix::net::UnixListener;

use case::Case;
use sociable_tests::frontend::{BUILDERS, Builder};
use sociable_tests::image::Image;
use sociable_tests::stack;

/// A Dockerfile that needs nothing else, on both BuildKits.
fn same(name: &str) {
    if let Some(case) = Case::of(name) {
        case.same();
    }
}

/// The same on buildkitd alone, where another BuildKit would say no more.
fn same_today(name: &str) {
    if let Some(case) = Case::of(name) {
        case.only_on(Builder::Buildkitd).same();
    }
}

/// The same as [`same`], and pushed by BuildKit.
fn same_both_ways(name: &str) {
    if let Some(case) = Case::of(name) {
        case.same();
        case.same_pushed();
    }
}

#[test]
fn stages() {
    same("stages");
}

#[test]
fn heredocs() {
    same("heredocs");
}

#[test]
fn mounts() {
    let Some(stack) = stack::start() else {
        return;
    };
    let agent = stack.dir("agent").join("socket");
    let _listener = UnixListener::bind(&agent).expect("a socket");
    let agent = format!("default={}", agent.display());
    let mounts = Case::of("mounts").expect("the stack");
    mounts
        .with(["--secret", "id=word,src=secret", "--ssh", &agent])
        .same();
}

#[test]
fn links() {
    same_both_ways("links");
}

#[test]
fn links_alone() {
    same("links-alone");
}

#[test]
fn add() {
    let Some(case) = Case::of("add") else { return };
    let blob = format!("BLOB={}", case.context().blob);
    case.with(["--build-arg", &blob]).same();
}

#[test]
fn contexts() {
    let Some(case) = Case::of("contexts") else {
        return;
    };
    let image = format!("docker-image://{}/dockerfiles-base:1", case.registry());
    let base = format!("base-by-name={image}");
    let image = format!("image={image}");
    let layout = format!("layout=oci-layout://{}", case.context().layout.display());
    case.with(["--build-context", "directory=named"])
        .with(["--build-context", &base])
        .with(["--build-context", &image])
        .with(["--build-context", &layout])
        .same();
}

#[test]
fn a_layout_as_base() {
    let Some(case) = Case::of("layout-base") else {
        return;
    };
    let layout = format!("layout=oci-layout://{}", case.context().layout.display());
    case.with(["--build-context", &layout])
        .only_on(Builder::Buildkitd)
        .same();
}

#[test]
#[ignore = "the frontend refuses it: its layers are more than the history speaks of"]
fn a_directory_as_base() {
    let Some(case) = Case::of("directory-base") else {
        return;
    };
    case.with(["--build-context", "directory=named"]).same();
}

/// An image with an uncompressed layer, and without a history.
#[test]
#[ignore = "the frontend leaves out history that BuildKit adds"]
fn a_bare_image_as_base() {
    same("bare-base");
}

#[test]
#[ignore = "BuildKit describes the new layer in its history in other words"]
fn a_bare_image_as_base_pushed() {
    if let Some(case) = Case::of("bare-base") {
        case.same_pushed();
    }
}

#[test]
fn attested() {
    let Some(case) = Case::of("attested") else {
        return;
    };
    case.with(["--provenance", "mode=max", "--annotation", "note=kept"])
        .same_pushed();
}

/// The frontend that the command line names goes before the one that the Dockerfile names.
#[test]
fn another_frontend_in_the_dockerfile() {
    let Some(case) = Case::of("syntax") else {
        return;
    };
    for builder in BUILDERS {
        let image = Image::only(&case.ours(builder));
        let last = image.layers.last().expect("a layer");
        assert_eq!(last.entries[0].name, b"built");
    }
}

#[test]
fn options() {
    let Some(case) = Case::of("options") else {
        return;
    };
    case.with(["--add-host", "added:192.0.2.1", "--ulimit", "nofile=123"])
        .with(["--shm-size", "3m", "--pull"])
        .with(["--build-arg", "http_proxy=http://192.0.2.1:1"])
        .with(["--build-arg", "no_proxy=127.0.0.1"])
        .same();
}

/// Layers are those of one run of each step, even where every run gives something else.
#[test]
fn a_build_without_a_cache() {
    let Some(case) = Case::of("random") else {
        return;
    };
    let case = case.with(["--no-cache"]);
    for builder in BUILDERS {
        let image = Image::only(&case.ours(builder));
        let entries = image.layers.iter().flat_map(|layer| &layer.entries);
        let names: [&[u8]; 3] = [b"one", b"two", b"three"];
        let sums = entries.filter(|entry| names.contains(&&entry.name[..]));
        let sums: Vec<_> = sums.map(|entry| &entry.content).collect();
        assert_eq!(sums, [sums[0]; 3]);
    }
}

#[test]
fn arguments() {
    let Some(case) = Case::of("arguments") else {
        return;
    };
    case.with(["--build-arg", "NUMBER=2", "--build-arg", "WORD=prefix"])
        .with(["--target", "wanted", "--label", "of.the.command=line"])
        .with(["--no-cache-filter", "wanted"])
        .same();
}

#[test]
fn platform() {
    let Some(case) = Case::of("platform") else {
        return;
    };
    case.with(["--platform", "linux/arm64"]).same();
    let Some(case) = Case::of("platform") else {
        return;
    };
    case.with(["--platform", "linux/arm/v6"])
        .only_on(Builder::Buildkitd)
        .same();
}

#[test]
fn epoch() {
    let Some(case) = Case::of("epoch") else {
        return;
    };
    // In layers BuildKit sets times only when told so twice.
    case.with(["--build-arg", "SOURCE_DATE_EPOCH=1500000000"])
        .plain_output(",rewrite-timestamp=true")
        .same_times()
        .same();
}

#[test]
fn a_dockerfile_on_stdin() {
    let Some(case) = Case::of("copies") else {
        return;
    };
    // Docker's Dockerfile frontend has no `COPY --parents` yet.
    case.dockerfile_on_stdin()
        .only_on(Builder::Buildkitd)
        .same();
}

#[test]
fn a_context_on_stdin() {
    let Some(case) = Case::of("whole") else {
        return;
    };
    case.context_on_stdin("whole.tar")
        .only_on(Builder::Buildkitd)
        .same();
}

#[test]
fn escape() {
    same_today("escape");
}

#[test]
fn ignored() {
    same_today("ignored");
}

#[test]
fn onbuild() {
    same("onbuild");
}

#[test]
fn config() {
    same_both_ways("config");
}

#[test]
fn nothing() {
    same("nothing");
}

#[test]
fn nothing_new() {
    same_both_ways("nothing-new");
}

#[test]
fn workdirs() {
    same_today("workdirs");
}

#[test]
fn empty() {
    same_both_ways("empty");
}

#[test]
fn removed() {
    same_both_ways("removed");
}

#[test]
fn opaque() {
    same("opaque");
}

#[test]
fn replaced() {
    same("replaced");
}

#[test]
fn hard_links() {
    same("hard-links");
}

#[test]
fn symlinks() {
    same("symlinks");
}

#[test]
fn attributes() {
    let Some(case) = Case::of("attributes") else {
        return;
    };
    case.with(["--build-context", "tools=tools"]).same();
}

#[test]
fn special() {
    same("special");
}

#[test]
fn names() {
    same("names");
}

#[test]
fn touched() {
    same("touched");
}

#[test]
fn many() {
    same("many");
}

#[test]
fn owners() {
    same("owners");
}

#[test]
fn spans() {
    let Some(case) = Case::of("spans") else {
        return;
    };
    case.option("SPAN_SIZE=300000").same();
}

//! Random layers: whatever the tree, the tar dialect, the compressor and the span size, the reference's zTOC is ours.

use std::fs;
use std::path::Path;

use sociable_tests::reference::{self, Reference};
use sociable_tests::rng::Rng;
use sociable_tests::{
    REFERENCE_TOOL, Run, archive, compress, run, say, scaled, seed, skip, sociable, temp_dir, tree,
};

use crate::{none, s};

const SPANS: [u64; 7] = [0, 1, 4096, 32_768, 65_536, 1 << 20, 4 << 20];

fn build(layer: &Path, span: u64, out: &Path, extra: &[&str]) -> Run {
    let _ = fs::remove_file(out); // of the case before
    let span = span.to_string();
    let args = [
        "ztoc",
        "build",
        "--span-size",
        &span,
        "--build-tool-identifier",
        REFERENCE_TOOL,
        "--output",
        &s(out),
        &s(layer),
    ];
    run(sociable(args).args(extra))
}

/// A random tar of one dialect.
fn random_tar(dialect: &str, dir: &Path, rng: &mut Rng) -> std::path::PathBuf {
    let root = dir.join("tree");
    let _ = fs::remove_dir_all(&root); // of the case before
    fs::create_dir(&root).expect("a directory");
    let shape = tree::Shape {
        entries: 20 + rng.below(100),
        plain: matches!(dialect, "v7" | "ustar") && rng.one_in(2),
        ..Default::default()
    };
    tree::grow(&root, shape, rng);
    let out = dir.join("layer.tar");
    archive::tar(dialect, &root, &out);
    out
}

/// Where a span shares a byte with the one before, the library's C code (v0.16.1, `extract_data_from_buffer`) reads a byte
/// behind the span, whatever memory holds there, and now and then takes it for a wrong block header. So what it cannot read
/// with this code may well be readable.
const OVERREAD: &str = "error extracting data; return code: -3";

/// Whether every claim of a zTOC holds, by our own reading.
fn verified(layer: &Path, ztoc: &Path) -> bool {
    run(&mut sociable(["ztoc", "verify", &s(ztoc), &s(layer)])).code == Some(0)
}

/// Ours is the reference's zTOC, and the reference reads the layer through it. Some layers (one that starts with an empty gzip
/// member) give a zTOC that the reference itself then cannot read: those we make only when told to.
fn same(
    reference: &mut Reference,
    layer: &Path,
    tar: bool,
    span: u64,
    dir: &Path,
) -> Result<(), String> {
    let (ours, theirs) = (dir.join("ours"), dir.join("theirs"));
    let done = build(layer, span, &ours, &[]);
    let refused = |why: &str| {
        done.not_a_refusal()
            .map_or(Ok(()), |w| Err(format!("the reference says {why:?}; {w}")))
    };
    let expected = match reference.ztoc(layer, tar, span, REFERENCE_TOOL, &theirs) {
        Ok(expected) => expected,
        Err(why) => return refused(&why),
    };
    let done = match reference.read(layer, &theirs) {
        Ok(_) => done,
        Err(why) if why.contains(OVERREAD) && verified(layer, &theirs) => done,
        Err(why) => {
            refused(&why)?;
            build(layer, span, &ours, &["--allow-unreadable"])
        }
    };
    if done.digest_and_size() == Some(expected.clone())
        && fs::read(&ours).ok() == fs::read(&theirs).ok()
    {
        Ok(())
    } else {
        Err(format!("want {} {}: {done}", expected.0, expected.1))
    }
}

#[test]
fn random_layers_give_the_references_ztoc() {
    let Some(mut reference) = reference::start("differential::random_layers") else {
        return;
    };
    if !archive::gnu_tar() {
        return skip("differential::random_layers: it needs GNU tar");
    }
    let mut rng = Rng::new(seed("differential::random_layers", 1));
    let dir = temp_dir();
    let layer = dir.path().join("layer.gz");
    let (mut wrong, mut cases) = (Vec::new(), 0);
    for round in 0..scaled(3) {
        for dialect in archive::DIALECTS {
            let tar = random_tar(dialect, dir.path(), &mut rng);
            let span = *rng.pick(&SPANS);
            let mut case = |what: String, outcome: Result<(), String>| {
                cases += 1;
                wrong.extend(
                    outcome
                        .err()
                        .map(|e| format!("round {round}, {dialect}, {what}: {e}")),
                );
            };
            // Spans of 0 or 1 byte of a plain tar would be a million spans.
            let plain_span = span.max(4096);
            case(
                format!("plain, span {plain_span}"),
                same(&mut reference, &tar, true, plain_span, dir.path()),
            );
            for c in compress::compressors(true) {
                let (level, span) = (*rng.pick(c.levels), *rng.pick(&SPANS));
                c.compress(level, &tar, &layer, Some(&mut reference), &mut rng);
                case(
                    format!("{} -{level}, span {span}", c.name),
                    same(&mut reference, &layer, false, span, dir.path()),
                );
            }
        }
    }
    say(&format!("differential::random_layers: {cases} layers"));
    none(&wrong, cases);
}

/// Damages bytes: a flip, a cut, a hole, a repeat, noise.
fn damage(bytes: &[u8], rng: &mut Rng) -> (Vec<u8>, &'static str) {
    let mut out = bytes.to_vec();
    let at = rng.below(out.len());
    let len = (1 + rng.below(64)).min(out.len() - at);
    let what = match rng.below(6) {
        0 => {
            out[at] ^= 1 << rng.below(8);
            "a bit"
        }
        1 => {
            out.truncate(at);
            "the end"
        }
        2 => {
            out.drain(at..at + len);
            "a hole"
        }
        3 => {
            let again = out[at..at + len].to_vec();
            out.splice(at..at, again);
            "a repeat"
        }
        4 => {
            out[at..at + len].copy_from_slice(&rng.noise(len));
            "noise"
        }
        _ => {
            out.extend(rng.noise(len));
            "more"
        }
    };
    (out, what)
}

#[test]
fn damaged_layers_get_the_references_verdict_or_a_stricter_one() {
    let Some(mut reference) = reference::start("differential::damaged_layers") else {
        return;
    };
    let mut rng = Rng::new(seed("differential::damaged_layers", 2));
    let dir = temp_dir();
    let (layer, ours, theirs) = (
        dir.path().join("layer"),
        dir.path().join("ours"),
        dir.path().join("theirs"),
    );
    let sound = [
        "tree-pax.z6.tar.gz",
        "tree-gnu.z6.tar.gz",
        "many-1200.z6.tar.gz",
        "mixed-800k.members4.tar.gz",
        "tree-pax.tar.tar",
        "whiteouts.tar.tar",
    ];
    let layers = sociable_tests::vectors().join("layers");
    let sound: Vec<_> = sound
        .iter()
        .filter_map(|n| Some((*n, fs::read(layers.join(n)).ok()?)))
        .collect();
    assert!(sound.len() >= 4, "the vectors' names have changed");
    let (mut wrong, mut stricter, count) = (Vec::new(), 0, scaled(400));
    for _ in 0..count {
        let (name, bytes) = rng.pick(&sound);
        let (bytes, what) = damage(bytes, &mut rng);
        fs::write(&layer, &bytes).expect("write a layer");
        // What a layer is follows from its first bytes, as its media type is not given.
        let tar = !bytes.starts_with(b"\x1f\x8b");
        let done = build(&layer, 65_536, &ours, &[]);
        let verdict = reference.ztoc(&layer, tar, 65_536, REFERENCE_TOOL, &theirs);
        let bad = match (done.code, &verdict) {
            (Some(0), Ok(expected)) if done.digest_and_size().as_ref() != Some(expected) => {
                Some(format!("want {expected:?}: {done}"))
            }
            (Some(0), Ok(_)) => None,
            (Some(0), Err(theirs)) => Some(format!("the reference refuses it ({theirs}): {done}")),
            _ => done.not_a_refusal(),
        };
        stricter += usize::from(done.code == Some(1) && verdict.is_ok());
        if let Some(bad) = bad {
            let kept = sociable_tests::target_dir().join(format!("damaged-{}", wrong.len()));
            let _ = fs::write(&kept, &bytes); // for whoever looks into it
            wrong.push(format!(
                "{name}, {what} (kept as {}): {bad}",
                kept.display()
            ));
        }
    }
    say(&format!(
        "differential::damaged_layers: {count} layers, {stricter} refused that the reference takes"
    ));
    none(&wrong, count);
}

#[test]
fn damaged_ztocs_are_refused_as_the_reference_refuses_them() {
    let Some(mut reference) = reference::start("differential::damaged_ztocs") else {
        return;
    };
    let mut rng = Rng::new(seed("differential::damaged_ztocs", 3));
    let dir = temp_dir();
    let ztoc = dir.path().join("ztoc");
    let sound: Vec<_> = fs::read_dir(sociable_tests::vectors().join("layers"))
        .expect("the vectors")
        .map(|e| e.expect("the vectors").path())
        .collect();
    let mut sound: Vec<_> = sound
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "ztoc"))
        .collect();
    sound.sort();
    let (mut wrong, mut stricter, count) = (Vec::new(), 0, scaled(400));
    for _ in 0..count {
        let (bytes, what) = damage(&fs::read(rng.pick(&sound)).expect("a zTOC"), &mut rng);
        fs::write(&ztoc, bytes).expect("write a zTOC");
        let done = run(&mut sociable(["ztoc", "info", &s(&ztoc)]));
        let verdict = reference.decode(&ztoc);
        let bad = match (done.code, &verdict) {
            (Some(0), Err(theirs)) => Some(format!("the reference refuses it ({theirs}): {done}")),
            (Some(0), Ok(())) => None,
            _ => done.not_a_refusal(),
        };
        stricter += usize::from(done.code == Some(1) && verdict.is_ok());
        wrong.extend(bad.map(|b| format!("{what}: {b}")));
    }
    say(&format!(
        "differential::damaged_ztocs: {count} zTOCs, {stricter} refused that the reference takes"
    ));
    none(&wrong, count);
}

#[test]
fn random_images_convert_alike() {
    let Some(mut reference) = reference::start("differential::random_images") else {
        return;
    };
    if !archive::gnu_tar() {
        return skip("differential::random_images: it needs GNU tar");
    }
    let mut rng = Rng::new(seed("differential::random_images", 4));
    let (mut wrong, count) = (Vec::new(), scaled(8));
    for round in 0..count {
        let dir = temp_dir();
        let layers: Vec<_> = (0..=rng.below(4))
            .map(|_| {
                let dialect = *rng.pick(&archive::DIALECTS[..2]);
                let tar = random_tar(dialect, dir.path(), &mut rng);
                let tar = fs::read(tar).expect("a tar");
                if rng.one_in(4) {
                    (sociable_tests::layout::media::TAR, tar)
                } else {
                    (sociable_tests::layout::media::GZIP, compress::gzip(&tar, 6))
                }
            })
            .collect();
        let layers: Vec<_> = layers.iter().map(|(m, b)| (*m, &b[..])).collect();
        let source = sociable_tests::layout::image(&dir.path().join("image"), &layers);
        let theirs = source.copy(dir.path().join("theirs"));
        let xattr = rng.one_in(2);
        let expected = reference.convert(
            &theirs.dir,
            serde_json::json!({"span": 65_536, "min": 0, "xattr": xattr}),
        );
        let ours = sociable_tests::layout::Layout::open(dir.path().join("ours"));
        let mut command = sociable([
            "convert",
            &source.arg(),
            &ours.arg(),
            "--no-cache",
            "--span-size",
            "65536",
            "--min-layer-size",
            "0",
        ]);
        command.args(["--build-tool-identifier", REFERENCE_TOOL]);
        if xattr {
            command.args(["--optimizations", "xattr"]);
        }
        let done = run(&mut command);
        match expected {
            Ok(_) if done.code == Some(0) && ours.index_json() == theirs.index_json() => {}
            Err(_) if done.not_a_refusal().is_none() => {}
            verdict => wrong.push(format!("round {round}: the reference: {verdict:?}; {done}")),
        }
    }
    none(&wrong, count);
}

//! Layers that nobody made in earnest.

use super::*;

#[test]
fn deep_paths_need_no_deep_stack() {
    let deep = "d/".repeat(100_000);
    let entries = layer(&[&format!("{deep}f"), &deep, &format!("{deep}.wh.g")]);
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(move || {
            let tree = Tree::merge(&[Some(&entries), Some(&entries)]).unwrap();
            let node = tree.resolve(format!("{deep}f")).unwrap();
            assert_eq!(tree.path(node).len(), deep.len() + 2);
            assert_eq!(tree.children(tree.lookup(&deep).unwrap()).len(), 1);
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn too_much_is_refused() {
    let too_large = |entries: &[Entry]| {
        let Err(TreeError::TooLarge { what, layer, .. }) = Tree::merge(&[None, Some(entries)])
        else {
            panic!();
        };
        assert_eq!(layer, 1);
        what
    };
    let long = "x".repeat(MAX_NAME + 1);
    assert_eq!(too_large(&layer(&[&long])), "bytes of an entry's name");
    let implied: Vec<String> = (0..3)
        .map(|i| format!("{i}/{}", "d/".repeat(MAX_NAME / 2 - 2)))
        .collect();
    let implied: Vec<&str> = implied.iter().map(String::as_str).collect();
    assert_eq!(too_large(&layer(&implied)), "implied directories");
    // 255 links of 4 KiB for every entry.
    let target = format!("{}l", "./".repeat(2000));
    let mut links: Vec<Entry> = (1..250)
        .map(|i| {
            entry(
                EntryKind::Symlink,
                format!("l{i}"),
                &format!("{target}{}", i - 1),
            )
        })
        .collect();
    links.extend((0..1000).map(|_| entry(EntryKind::File, "l249/x", "")));
    assert_eq!(
        too_large(&links),
        "bytes of links followed to place entries"
    );
}

#[test]
fn replacing_large_directories_again_and_again_is_cheap() {
    let mut entries: Vec<Entry> = (0..100_000)
        .map(|i| entry(EntryKind::File, format!("d/{i}"), ""))
        .collect();
    for _ in 0..50_000 {
        entries.push(entry(EntryKind::File, "d", ""));
        entries.push(entry(EntryKind::Directory, "d/", ""));
    }
    entries.push(entry(EntryKind::File, "d/7", ""));
    let white = layer(&[".wh.d", "d/8"]);
    let layers: Vec<Option<&[Entry]>> = vec![Some(&entries), Some(&white)];
    assert_eq!(
        listing(&Tree::merge(&layers[..1]).unwrap()),
        ["/d/@0.199999", "/d/7@0.200000"]
    );
    assert_eq!(
        listing(&Tree::merge(&layers).unwrap()),
        ["/d/@1", "/d/8@1.1"]
    );
}

//! The rules of layers: what is in the tree, and from where.

use super::*;

#[test]
fn names_are_cleaned() {
    assert_eq!(
        list(&[&[
            "./", "./a", "/b", "../../c", "x/../d", "e//f", "g/./h/", "i/..", "/"
        ]]),
        [
            "/a@0.1",
            "/b@0.2",
            "/c@0.3",
            "/d@0.4",
            "/e/@0",
            "/e/f@0.5",
            "/g/@0",
            "/g/h/@0.6"
        ]
    );
    with(&[&["a", "./"]], |tree| {
        assert_eq!(tree.root().entry, Some(1));
    });
    with(&[&["a", "x/.."]], |tree| {
        assert_eq!(tree.left_out(), (1, Some((0, 1))), "a file as root");
    });
}

#[test]
fn names_are_bytes() {
    let entries = [entry(EntryKind::File, b"d/\xff\xfe", "")];
    let tree = Tree::merge(&[Some(&entries)]).unwrap();
    let node = tree.lookup(b"/d/\xff\xfe").unwrap();
    assert_eq!(tree.path(node), b"/d/\xff\xfe".as_bstr());
    let error = tree.lookup(b"/d/\xff").unwrap_err().to_string();
    assert!(error.contains(r"\xff\xfe"), "{error}");
}

#[test]
fn later_entries_replace_earlier_ones_of_a_layer() {
    assert_eq!(list(&[&["a", "a"]]), ["/a@0.1"]);
    assert_eq!(list(&[&["a/", "a/b", "a/"]]), ["/a/@0.2", "/a/b@0.1"]);
    assert_eq!(list(&[&["a/b/c", "a"]]), ["/a@0.1"]);
    assert_eq!(list(&[&["a/b/c", "a", "a/"]]), ["/a/@0.2"]);
    assert_eq!(
        list(&[&["a/b/c", "a", "a/", "a/b/d"]]),
        ["/a/@0.2", "/a/b/@0", "/a/b/d@0.3"]
    );
    assert_eq!(list(&[&["a", "a/b"]]), ["/a@0.0"], "no engine unpacks that");
    with(&[&["a", "a/b", "a/c"]], |tree| {
        assert_eq!(tree.left_out(), (2, Some((0, 1))));
    });
}

#[test]
fn layers_are_stacked() {
    assert_eq!(
        list(&[&["a/", "a/x", "a/y"], &["a/y", "a/z"]]),
        ["/a/@0.0", "/a/x@0.1", "/a/y@1.0", "/a/z@1.1"],
        "an implied directory keeps its metadata"
    );
    assert_eq!(
        list(&[&["a/", "a/x"], &["a/"]]),
        ["/a/@1.0", "/a/x@0.1"],
        "a directory only changes its metadata"
    );
    assert_eq!(list(&[&["a/x"], &["a"]]), ["/a@1.0"]);
    assert_eq!(list(&[&["a/x"], &["a"], &["a/"]]), ["/a/@2.0"]);
    assert_eq!(
        list(&[&["a"], &["a/x"]]),
        ["/a/@1", "/a/x@1.0"],
        "a directory hides a file below"
    );
    assert_eq!(
        list(&[&["lib -> usr/lib", "usr/lib/x"], &["lib/y"]]),
        [
            "/lib/@1",
            "/lib/y@1.0",
            "/usr/@0",
            "/usr/lib/@0",
            "/usr/lib/x@0.1"
        ],
        "and a link below: overlayfs does not look through it"
    );
}

#[test]
fn whiteouts_remove_what_is_below() {
    let below: &[&str] = &["d/", "d/a", "d/s/", "d/s/t/u", "e"];
    assert_eq!(
        list(&[below, &["d/.wh.a"]]),
        [
            "/d/@0.0",
            "/d/s/@0.2",
            "/d/s/t/@0",
            "/d/s/t/u@0.3",
            "/e@0.4"
        ]
    );
    assert_eq!(
        list(&[below, &["d/.wh.s", "./.wh.e", ".wh.nothing"]]),
        ["/d/@0.0", "/d/a@0.1"]
    );
    assert_eq!(list(&[below, &[".wh.d"]]), ["/e@0.4"]);
    assert_eq!(
        list(&[below, &[".wh.d"], &["d/b"]]),
        ["/d/@2", "/d/b@2.0", "/e@0.4"]
    );
    assert_eq!(
        list(&[below, &["x/y/.wh.a"]]).len(),
        8,
        "its directory is made"
    );
    for bad in [".wh.", ".wh..", ".wh..."] {
        let seen = with(&[below, &[bad]], |tree| (tree.left_out().0, listing(tree)));
        assert_eq!(seen, (1, list(&[below])), "{bad}");
    }
}

#[test]
fn whiteouts_do_nothing_to_their_own_layer() {
    let below: &[&str] = &["d/", "d/a", "d/s/", "d/s/t"];
    for order in [
        ["d/a", "d/.wh.a", "d/s/n", "d/.wh.s"],
        ["d/.wh.a", "d/a", "d/.wh.s", "d/s/n"],
    ] {
        let got = list(&[below, &order]);
        assert_eq!(got.len(), 4, "{got:?}");
        assert!(got[1].starts_with("/d/a@1."));
        assert_eq!(got[2], "/d/s/@1", "implied, the lower metadata is gone");
        assert!(got[3].starts_with("/d/s/n@1."));
    }
    assert_eq!(
        list(&[below, &["d/s/", "d/.wh.s"]]),
        ["/d/@0.0", "/d/a@0.1", "/d/s/@1.0"]
    );
}

#[test]
fn opaque_directories_hide_what_is_below() {
    let below: &[&str] = &["d/", "d/a", "d/s/t", "e"];
    for order in [
        &["d/", "d/.wh..wh..opq", "d/s/n"],
        &["d/s/n", "d/", "d/.wh..wh..opq"],
    ] {
        let got = list(&[below, order]);
        let layers: Vec<&str> = got
            .iter()
            .filter_map(|text| text.get(..text.find('.')?))
            .collect();
        assert_eq!(layers, ["/d/@1", "/d/s/n@1", "/e@0"], "{got:?}");
        assert!(got.contains(&"/d/s/@1".to_owned()), "{got:?}");
    }
    assert_eq!(list(&[below, &[".wh..wh..opq", "f"]]), ["/f@1.1"]);
    assert_eq!(
        list(&[below, &["d/.wh..wh..opq"]]),
        ["/d/@0.0", "/e@0.3"],
        "the directory stays as it was"
    );
    assert_eq!(list(&[below, &["e/.wh..wh..opq"]]).last().unwrap(), "/e/@1");
}

#[test]
fn notes_of_aufs_are_hidden_but_hard_links_find_them() {
    let layers: &[&[&str]] = &[&[
        ".wh..wh.plnk/",
        ".wh..wh.plnk/1.2",
        ".wh..wh.aufs",
        "a = .wh..wh.plnk/1.2",
    ]];
    assert_eq!(list(layers), ["/a@0.3"]);
    with(layers, |tree| {
        let a = tree.lookup("a").unwrap();
        assert_eq!(tree.content(a), Ok((0, 1)));
        assert!(tree.lookup(".wh..wh.plnk").is_err());
        assert!(tree.lookup(".wh..wh.plnk/1.2").is_err());
    });
}

#[test]
fn devices_with_numbers_0_0_are_devices() {
    let mut device = entry(EntryKind::CharDevice, "a", "");
    device.mode = 0;
    let (below, above) = (layer(&["a"]), [device]);
    let tree = Tree::merge(&[Some(&below), Some(&above)]).unwrap();
    let node = tree.lookup("a").unwrap();
    assert_eq!((node.layer, node.kind), (1, EntryKind::CharDevice));
    assert_eq!(
        tree.content(node).unwrap_err().to_string(),
        r#""/a" is a character device, not a regular file"#
    );
}

#[test]
fn hard_links() {
    let layers: &[&[&str]] = &[
        &["low"],
        &[
            "a",              // 0
            "b = a",          // 1
            "d/c = ./b",      // 2: a chain
            "a",              // 3: another file; the links keep the first
            "l -> d",         // 4
            "m = l",          // 5: a link to a symbolic link
            "n = /l/c",       // 6: through a symbolic link
            "self = self",    // 7
            "x = later",      // 8
            "later",          // 9
            "y = low",        // 10: in a lower layer
            "z = d",          // 11
            "q = x",          // 12
            "r = ../nowhere", // 13
            "s = /",          // 14
        ],
    ];
    with(layers, |tree| {
        let content = |path: &str| tree.content(tree.lookup(path).unwrap());
        assert_eq!(content("a"), Ok((1, 3)));
        for link in ["b", "d/c", "n", "m/c", "/l/c"] {
            assert_eq!(content(link), Ok((1, 0)), "{link}");
        }
        let m = tree.lookup("m").unwrap();
        assert!(m.hard_link && m.kind == EntryKind::Symlink);
        assert_eq!((m.entry, tree.holder(m)), (Some(5), Some((1, 4))));
        assert_eq!(tree.link_target(m), Some("d".into()));
        for (link, text) in [
            (
                "self",
                r#""/self" is a hard link to "self" in layer 1 (counted from 0), that is to itself"#,
            ),
            ("x", "comes only behind"),
            ("y", "not in that layer"),
            ("z", "is a directory"),
            ("q", "itself such a link"),
            ("r", "not in that layer"),
            ("s", "is a directory"),
        ] {
            let error = content(link).unwrap_err().to_string();
            assert!(error.contains(text), "{link}: {error}");
            let node = tree.resolve(link).unwrap();
            assert_eq!(node.kind, EntryKind::Hardlink);
            assert_eq!(tree.holder(node), None);
        }
        assert!(matches!(
            tree.resolve("self/x"),
            Err(TreeError::NotADirectory { .. })
        ));
    });
    // The link takes the place of what it leads to.
    with(&[&["a/b", "a = a/b", "c", "c = c"]], |tree| {
        for path in ["a", "c"] {
            let node = tree.lookup(path).unwrap();
            assert!(matches!(
                tree.content(node),
                Err(TreeError::BrokenHardLink { .. })
            ));
        }
    });
}

#[test]
fn entries_below_links_of_their_own_layer_go_where_these_lead() {
    assert_eq!(
        list(&[&["lib -> usr/lib", "lib/x", "abs -> /opt/./o/", "abs/y"]]),
        [
            "/abs@0.2",
            "/lib@0.0",
            "/opt/@0",
            "/opt/o/@0",
            "/opt/o/y@0.3",
            "/usr/@0",
            "/usr/lib/@0",
            "/usr/lib/x@0.1"
        ]
    );
    assert_eq!(
        list(&[&["a/b/up -> ../../../c", "a/b/up/x"]]),
        ["/a/@0", "/a/b/@0", "/a/b/up@0.0", "/c/@0", "/c/x@0.1"]
    );
    assert_eq!(
        list(&[&["usr/lib/y"], &["lib -> usr/lib", "lib/.wh.y"]]),
        ["/lib@1.0", "/usr/@0", "/usr/lib/@0"]
    );
    with(
        &[&["a -> b", "b -> a", "a/x", "f", "l -> f", "l/x"]],
        |tree| {
            assert_eq!(tree.left_out(), (2, Some((0, 2))));
        },
    );
}

//! Paths, and what is said of those that lead nowhere or into doubt.

use super::*;

#[test]
fn paths_follow_links() {
    let layers: &[&[&str]] = &[
        &["bin -> usr/bin", "usr/bin/sh -> dash", "usr/bin/dash"],
        &[
            "abs -> /usr/bin/sh",
            "usr/up -> ../../../../bin",
            "dangling -> /no/where",
            "round -> round/x",
        ],
    ];
    with(layers, |tree| {
        let at = |node: Result<Node, TreeError>| node.map(|node| tree.path(node).to_string());
        assert_eq!(at(tree.lookup("/bin")), Ok("/bin".to_owned()));
        for directory in ["bin/", "/bin/.", "usr/up/.", "//bin//./", "bin/../bin"] {
            assert_eq!(
                at(tree.lookup(directory)),
                Ok("/usr/bin".to_owned()),
                "{directory}"
            );
        }
        for root in ["", "/", ".", "..", "/../..", "bin/../.."] {
            assert_eq!(at(tree.resolve(root)), Ok("/".to_owned()), "{root}");
        }
        for path in ["abs", "bin/sh", "/usr/up/sh", "../bin/../bin/sh"] {
            assert_eq!(
                at(tree.resolve(path)),
                Ok("/usr/bin/dash".to_owned()),
                "{path}"
            );
        }
        assert_eq!(at(tree.lookup("usr/up/sh")), Ok("/usr/bin/sh".to_owned()));
        assert_eq!(at(tree.lookup("dangling")), Ok("/dangling".to_owned()));
        for (path, text) in [
            (
                "dangling",
                r#""dangling": no such file or directory: the link "/dangling" leads to "/no", which is missing"#,
            ),
            (
                "round",
                r#""round": too many symbolic links (more than 40), "/round" at last"#,
            ),
            (
                "bin/dash/x",
                r#""bin/dash/x": "/usr/bin/dash" is a regular file, not a directory"#,
            ),
            (
                "abs/",
                r#""abs/": "/usr/bin/dash" is a regular file, not a directory"#,
            ),
            (
                "abs/..",
                r#""abs/..": "/usr/bin/dash" is a regular file, not a directory"#,
            ),
        ] {
            let error = tree.resolve(path).unwrap_err().to_string();
            assert!(error.starts_with(text), "{error}");
        }
        assert!(matches!(
            tree.content(tree.resolve("bin").unwrap()),
            Err(TreeError::IsADirectory { .. })
        ));
    });
}

#[test]
fn forty_links_and_no_more() {
    let chain: Vec<String> = (0..=MAX_LINKS)
        .map(|i| format!("l{i} -> l{}", i + 1))
        .chain([format!("l{}", MAX_LINKS + 1)])
        .collect();
    let chain: Vec<&str> = chain.iter().map(String::as_str).collect();
    with(&[&chain], |tree| {
        assert!(tree.resolve("l1").is_ok());
        assert!(matches!(tree.resolve("l0"), Err(TreeError::Loop { .. })));
    });
    let long = format!("l -> {}", "x/".repeat(2048));
    with(&[&[&long]], |tree| {
        assert!(matches!(
            tree.resolve("l"),
            Err(TreeError::LinkTooLong { length: 4096, .. })
        ));
    });
}

#[test]
fn a_miss_says_what_there_is() {
    let many: Vec<String> = (0..20).map(|i| format!("many/name-{i:02}")).collect();
    let mut texts: Vec<&str> = many.iter().map(String::as_str).collect();
    texts.extend(["app/b", "app/a", "app/gone", "empty/"]);
    with(&[&texts, &["app/.wh.gone"]], |tree| {
        for (path, text) in [
            (
                "/app/c",
                r#""/app/c": no such file or directory; "/app" has "a", "b""#,
            ),
            (
                "/app/c/d/",
                r#""/app/c/d/": no such file or directory: "/app/c" is missing; "/app" has "a", "b""#,
            ),
            (
                "empty/x",
                r#""empty/x": no such file or directory; "/empty" is empty"#,
            ),
            (
                "many/Name-7",
                r#""many/Name-7": no such file or directory; like it in "/many": "name-07", "name-17", "name-00", "name-01", "name-02", "name-03""#,
            ),
            (
                "many/quite else",
                r#""many/quite else": no such file or directory"#,
            ),
            (
                "ap",
                r#""ap": no such file or directory; "/" has "app", "empty", "many""#,
            ),
        ] {
            assert_eq!(tree.lookup(path).unwrap_err().to_string(), text);
        }
        let Err(TreeError::NotFound { at, .. }) = tree.lookup("app/./c/d") else {
            panic!();
        };
        assert_eq!(at, "/app/c");
    });
}

#[test]
fn unseen_layers_cast_doubt_on_what_they_might_change() {
    let layers = [
        Some(layer(&["a", "d/x", "l -> d", "w/y"])),
        None,
        Some(layer(&["d/z", "o/.wh..wh..opq", ".wh.w"])),
        None,
        Some(layer(&["top", "d/t"])),
    ];
    let layers: Vec<Option<&[Entry]>> = layers.iter().map(Option::as_deref).collect();
    let tree = Tree::merge(&layers).unwrap();
    let doubts = |path: &str| tree.doubts(tree.resolve(path).unwrap());
    let inside = |path: &str| tree.doubts_inside(tree.resolve(path).unwrap());
    assert_eq!(tree.unseen(), [1, 3]);
    assert_eq!(doubts("a"), [1, 3]);
    assert_eq!(doubts("d/z"), [3]);
    assert_eq!(doubts("top"), [0; 0]);
    assert_eq!(doubts("d/t"), [0; 0]);
    assert_eq!(doubts("l/t"), [1, 3], "the link may be another");
    assert_eq!(inside("/"), [1, 3]);
    assert_eq!(inside("d"), [1, 3]);
    assert_eq!(inside("o"), [3], "what layer 1 had in it is hidden");
    let link = tree.children(tree.lookup("l/").unwrap()).next().unwrap().1;
    assert_eq!(tree.doubts(link), [1, 3]);
    for (path, unseen) in [("nothing", &[1, 3][..]), ("w", &[3]), ("o/x", &[3])] {
        let Err(TreeError::NotFound { hint, .. }) = tree.lookup(path) else {
            panic!("{path}");
        };
        assert_eq!(hint.unseen, unseen, "{path}");
    }
    let error = tree.lookup("w").unwrap_err().to_string();
    assert!(
        error.ends_with(
            "; layer 3 (counted from 0) has no zTOC and cannot be seen, so this may be wrong"
        ),
        "{error}"
    );
    let error = tree.lookup("a/b").unwrap_err().to_string();
    assert!(
        error.contains("; layers 1, 3 (counted from 0) have no"),
        "{error}"
    );
}

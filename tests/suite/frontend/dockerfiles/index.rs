//! The index of an image: a zTOC for each layer, and by each the reference reads what the layer holds.

use std::collections::BTreeMap;

use sociable_tests::image::{Image, Layer};
use sociable_tests::layout::Layout;
use sociable_tests::reference::Reference;
use sociable_tests::sha256;

/// Every layer has a zTOC, in the image's order; a layer that is there twice has it twice.
pub(super) fn complete(layout: &Layout, image: &Image) {
    let layers: Vec<_> = image.layers.iter().map(|layer| &layer.digest).collect();
    let indexed = layout.indexed();
    let found: Vec<_> = indexed.iter().map(|indexed| &indexed.layer).collect();
    assert_eq!(found, layers, "layers with a zTOC, and all");
}

/// The reference reads every file of every layer, by one of its names.
pub(super) fn read(layout: &Layout, image: &Image, reference: &mut Reference) {
    for indexed in layout.indexed() {
        let mut layers = image.layers.iter();
        let layer = layers.find(|layer| layer.digest == indexed.layer);
        let (names, count) = files(layer.expect("a layer of the image"));
        let blob = layout.blob_path(&indexed.layer);
        let read = reference.read(&blob, &layout.blob_path(&indexed.ztoc));
        let read = read.expect("the reference reads a layer");
        assert_eq!(read.len(), count, "files that the reference finds");
        for file in read {
            let path = file.path();
            let wanted = names.get(&path);
            assert_eq!(Some(&file.sha256), wanted, "{}", path.escape_ascii());
        }
    }
}

/// The names of all files, with what is in them; and how many files there are.
fn files(layer: &Layer) -> (BTreeMap<Vec<u8>, String>, usize) {
    let mut names = BTreeMap::new();
    for entry in &layer.entries {
        if entry.kind == b'0' {
            let sum = sha256(&entry.content)[7..].to_owned();
            names.insert(entry.name.clone(), sum);
        }
    }
    let count = names.len();
    for entry in &layer.entries {
        if entry.kind == b'1'
            && let Some(sum) = names.get(&entry.link)
        {
            names.insert(entry.name.clone(), sum.clone());
        }
    }
    (names, count)
}

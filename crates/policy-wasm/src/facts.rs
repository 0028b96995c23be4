//! What policies are told, in the component's types.

use sociable_policy::{Entry, Kind, Layer};

use crate::bindings::types;

pub(crate) fn layer(layer: &Layer) -> types::Layer {
    types::Layer {
        digest: layer.digest.clone(),
        size: layer.size,
        media_type: layer.media_type.clone(),
        span_size: layer.span_size,
        min_layer_size: layer.min_layer_size,
        packing: layer.packing,
    }
}

pub(crate) fn entry(entry: &Entry<'_>) -> types::Entry {
    types::Entry {
        path: entry.path.clone().into_owned(),
        kind: match entry.kind {
            Kind::File => types::Kind::File,
            Kind::HardLink => types::Kind::HardLink,
            Kind::Symlink => types::Kind::Symlink,
            Kind::CharDevice => types::Kind::CharDevice,
            Kind::BlockDevice => types::Kind::BlockDevice,
            Kind::Directory => types::Kind::Directory,
            Kind::Fifo => types::Kind::Fifo,
        },
        header: entry.header,
        data: entry.data,
        size: entry.size,
        mode: entry.mode,
        link: entry.link.clone().map(std::borrow::Cow::into_owned),
    }
}

pub(crate) fn entries(all: &[Entry<'_>]) -> Vec<types::Entry> {
    all.iter().map(entry).collect()
}

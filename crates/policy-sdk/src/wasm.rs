//! A component's exports, generated of the interfaces in `wit/`, and what leads from them to a policy's traits.
//!
//! One world a policy, so that a component exports only what it decides about. Only [`export!`](crate::export) needs this.

mod convert;
mod state;

use std::marker::PhantomData;

use crate::{Compression, Level, Order, Parameters, Planner, Plugin, Prefetch, Selection, Span};

#[allow(
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated; wit/ documents it"
)]
pub mod plugin {
    wit_bindgen::generate!({
        path: "wit",
        world: "base",
        pub_export_macro: true,
        export_macro_name: "export_plugin",
    });
}

#[allow(
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated; wit/ documents it"
)]
pub mod span {
    wit_bindgen::generate!({
        path: "wit",
        world: "span-policy",
        pub_export_macro: true,
        export_macro_name: "export_span",
    });
}

#[allow(
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated; wit/ documents it"
)]
pub mod order {
    wit_bindgen::generate!({
        path: "wit",
        world: "order-policy",
        with: { "sociable:policy/types@0.1.0": crate::wasm::span::sociable::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_order",
    });
}

#[allow(
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated; wit/ documents it"
)]
pub mod compression {
    wit_bindgen::generate!({
        path: "wit",
        world: "compression-policy",
        with: { "sociable:policy/types@0.1.0": crate::wasm::span::sociable::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_compression",
    });
}

#[allow(
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated; wit/ documents it"
)]
pub mod selection {
    wit_bindgen::generate!({
        path: "wit",
        world: "selection-policy",
        with: { "sociable:policy/types@0.1.0": crate::wasm::span::sociable::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_selection",
    });
}

#[allow(
    clippy::pedantic,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated; wit/ documents it"
)]
pub mod prefetch {
    wit_bindgen::generate!({
        path: "wit",
        world: "prefetch-policy",
        with: { "sociable:policy/types@0.1.0": crate::wasm::span::sociable::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_prefetch",
    });
}

use span::sociable::policy::types;

/// Says one line.
pub(crate) fn log(level: Level, line: &str) {
    plugin::sociable::policy::log::log(level.into(), line);
}

/// The exports of a policy.
#[derive(Debug)]
pub struct Adapter<P>(PhantomData<P>);

impl<P: Plugin> plugin::exports::sociable::policy::plugin::Guest for Adapter<P> {
    fn describe() -> plugin::exports::sociable::policy::plugin::Description {
        P::DESCRIPTION.into()
    }

    fn configure(parameters: String) -> Result<(), String> {
        state::report_panics();
        state::configure(P::configure(Parameters::new(&parameters)))
    }
}

impl<P: Span> span::exports::sociable::policy::span::Guest for Adapter<P> {
    fn start(layer: types::Layer) -> Result<convert::Opening, String> {
        let (planner, opening) = state::policy(|policy: &P| policy.start(&layer.into()))?;
        state::keep_planner(planner);
        Ok(opening.into())
    }

    fn decide(
        entries: Vec<types::Entry>,
        at: convert::Candidate,
    ) -> Result<convert::Decision, String> {
        let entries = convert::entries(entries);
        let answer = |planner: &mut P::Planner| planner.decide(&entries, &at.into());
        state::planner(answer).map(Into::into)
    }
}

impl<P: Order> order::exports::sociable::policy::order::Guest for Adapter<P> {
    fn arrange(layer: types::Layer, entries: Vec<types::Entry>) -> Result<Vec<u32>, String> {
        let entries = convert::entries(entries);
        state::policy(|policy: &P| policy.arrange(&layer.into(), &entries))
    }
}

impl<P: Compression> compression::exports::sociable::policy::compression::Guest for Adapter<P> {
    fn choose(layer: types::Layer) -> Result<Option<convert::Choice>, String> {
        let layer = layer.into();
        let choice = state::policy(|policy: &P| policy.layer(&layer))?;
        state::keep_layer(layer);
        Ok(choice.map(Into::into))
    }

    fn file(entry: types::Entry, sample: convert::Sample) -> Result<Option<u8>, String> {
        let (entry, sample) = (entry.into(), sample.into());
        state::layer(|layer| state::policy(|policy: &P| policy.file(layer, &entry, sample)))
    }
}

impl<P: Selection> selection::exports::sociable::policy::selection::Guest for Adapter<P> {
    fn select(layer: types::Layer) -> Result<convert::Verdict, String> {
        state::policy(|policy: &P| policy.select(&layer.into())).map(Into::into)
    }
}

impl<P: Prefetch> prefetch::exports::sociable::policy::prefetch::Guest for Adapter<P> {
    fn choose(
        layer: types::Layer,
        entries: Vec<types::Entry>,
        spans: Vec<u64>,
    ) -> Result<Vec<convert::Target>, String> {
        let entries = convert::entries(entries);
        let targets = state::policy(|policy: &P| policy.choose(&layer.into(), &entries, &spans))?;
        Ok(targets.into_iter().map(Into::into).collect())
    }
}

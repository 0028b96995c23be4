//! What an instance keeps between calls: the policy, and what it decides about now. An instance has one thread.

use std::any::Any;
use std::cell::{OnceCell, RefCell};

use crate::{Layer, Level, Result};

thread_local! {
    static POLICY: OnceCell<Box<dyn Any>> = const { OnceCell::new() };
    static PLANNER: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    static LAYER: RefCell<Option<Layer>> = const { RefCell::new(None) };
}

const UNCONFIGURED: &str = "asked before `configure`";
const UNSTARTED: &str = "asked before a layer began";

pub(super) fn configure<P: 'static>(policy: Result<P>) -> Result<(), String> {
    let policy = policy.map_err(|error| error.to_string())?;
    let kept = POLICY.with(|kept| kept.set(Box::new(policy)));
    kept.map_err(|_| "configured twice".to_owned())
}

pub(super) fn policy<P: 'static, T>(ask: impl FnOnce(&P) -> Result<T>) -> Result<T, String> {
    POLICY.with(|policy| {
        let policy = policy.get().and_then(|policy| policy.downcast_ref());
        ask(policy.ok_or(UNCONFIGURED)?).map_err(|error| error.to_string())
    })
}

pub(super) fn keep_planner<P: 'static>(planner: P) {
    PLANNER.replace(Some(Box::new(planner)));
}

pub(super) fn planner<P: 'static, T>(ask: impl FnOnce(&mut P) -> Result<T>) -> Result<T, String> {
    PLANNER.with_borrow_mut(|planner| {
        let planner = planner.as_mut().and_then(|planner| planner.downcast_mut());
        ask(planner.ok_or(UNSTARTED)?).map_err(|error| error.to_string())
    })
}

pub(super) fn keep_layer(layer: Layer) {
    LAYER.replace(Some(layer));
}

pub(super) fn layer<T>(ask: impl FnOnce(&Layer) -> Result<T, String>) -> Result<T, String> {
    LAYER.with_borrow(|layer| ask(layer.as_ref().ok_or(UNSTARTED)?))
}

/// A trap says nothing by itself: without this nobody would learn where a policy panicked.
pub(super) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        super::log(Level::Warn, &panic.to_string().replace('\n', " "));
    }));
}

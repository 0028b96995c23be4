//! One instance of a component, and how it is asked.

use std::sync::Arc;

use sociable_policy::PolicyError;
use wasmtime::Store;

use crate::bindings::{log, plugin, types};
use crate::limits::{Limiter, Limits};
use crate::{Level, Logger};

/// What an instance has beside its memory.
pub(crate) struct State {
    pub(crate) limiter: Limiter,
    logger: Arc<dyn Logger>,
    policy: String,
    lines_left: usize,
    /// Bytes that may still be logged, shown or not: copying them costs time that no instruction is charged for.
    bytes_left: usize,
}

impl types::Host for State {}

impl log::Host for State {
    fn log(&mut self, level: log::Level, line: String) -> wasmtime::Result<()> {
        // An empty line costs, too.
        self.bytes_left = self.bytes_left.saturating_sub(line.len() + 64);
        if self.bytes_left == 0 {
            return Err(wasmtime::Error::msg("it logs without an end"));
        }
        if self.lines_left == 0 {
            return Ok(());
        }
        self.lines_left -= 1;
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
        };
        self.logger.line(level, &self.policy, &printable(&line));
        if self.lines_left == 0 {
            let line = "it logs too much: what follows is not shown";
            self.logger.line(Level::Warn, &self.policy, line);
        }
        Ok(())
    }
}

/// A line for a terminal: cut, and without what a terminal would obey.
pub(crate) fn printable(line: &str) -> String {
    let mut shown: String = line
        .chars()
        .scan(0, |length, char| {
            *length += char.len_utf8();
            (*length <= Limits::LOG_LINE).then_some(char)
        })
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if line.len() > Limits::LOG_LINE {
        shown.push('…');
    }
    shown
}

/// A place to run a component in.
pub(crate) struct Instance {
    store: Store<State>,
    component: wasmtime::component::Instance,
    limits: Limits,
    policy: String,
    /// Calls so far.
    calls: u64,
    /// Instructions that are left for all calls to come.
    left: u64,
}

impl Instance {
    /// A store with limits.
    pub(crate) fn store(
        engine: &wasmtime::Engine,
        limits: &Limits,
        logger: &Arc<dyn Logger>,
        policy: &str,
    ) -> Store<State> {
        let mut store = Store::new(
            engine,
            State {
                limiter: Limiter::new(limits),
                logger: Arc::clone(logger),
                policy: policy.to_owned(),
                lines_left: limits.log_lines,
                bytes_left: limits.output,
            },
        );
        store.limiter(|state| &mut state.limiter);
        store.set_hostcall_fuel(limits.output);
        store
    }

    /// An instance; not configured yet.
    pub(crate) fn new(
        pre: &wasmtime::component::InstancePre<State>,
        limits: &Limits,
        logger: &Arc<dyn Logger>,
        policy: &str,
    ) -> Result<Self, PolicyError> {
        let mut store = Self::store(pre.engine(), limits, logger, policy);
        let fueled = store.set_fuel(limits.instructions());
        let instance = match fueled.and_then(|()| pre.instantiate(&mut store)) {
            Ok(instance) => instance,
            Err(error) => {
                let why = explain(&error, &store, limits);
                return Err(PolicyError::new(policy, "start", why));
            }
        };
        Ok(Self {
            store,
            component: instance,
            limits: *limits,
            policy: policy.to_owned(),
            calls: 0,
            left: limits.instructions().saturating_mul(Limits::CALLS),
        })
    }

    /// Asks: `call` is one call of a function of that name.
    pub(crate) fn ask<R>(
        &mut self,
        function: &'static str,
        call: impl FnOnce(&mut Store<State>, &wasmtime::component::Instance) -> wasmtime::Result<R>,
    ) -> Result<R, PolicyError> {
        let most = self.limits.instructions();
        let granted = most.min(self.left);
        let fueled = self.store.set_fuel(granted);
        let answer = fueled.and_then(|()| call(&mut self.store, &self.component));
        let used = granted - self.store.get_fuel().unwrap_or(0).min(granted);
        self.calls += 1;
        self.left = self.left.saturating_sub(used + Limits::CALL);
        answer.map_err(|error| {
            let spent = granted < most && is_out_of_fuel(&error);
            let why = if spent {
                self.spent()
            } else {
                explain(&error, &self.store, &self.limits)
            };
            PolicyError::new(&self.policy, function, why)
        })
    }

    /// That all calls together were too much.
    fn spent(&self) -> String {
        format!(
            "it was stopped in call {} about one layer, after {} million instructions in all, of which a call takes {} at least; \
             raise --policy-fuel to let it go on",
            self.calls,
            self.limits.fuel.saturating_mul(Limits::CALLS),
            Limits::CALL
        )
    }

    /// An error in what the policy answered, or that it answered with one.
    pub(crate) fn refused(&self, function: &'static str, why: impl Into<String>) -> PolicyError {
        PolicyError::new(&self.policy, function, printable(&why.into()))
    }

    /// Hands the parameters over.
    pub(crate) fn configure(
        &mut self,
        indices: &plugin::GuestIndices,
        parameters: &str,
    ) -> Result<(), PolicyError> {
        let answer = self.ask("configure", |store, instance| {
            let guest = indices.load(&mut *store, instance)?;
            guest.call_configure(&mut *store, parameters)
        })?;
        answer.map_err(|why| self.refused("configure", why))
    }
}

fn is_out_of_fuel(error: &wasmtime::Error) -> bool {
    error.downcast_ref() == Some(&wasmtime::Trap::OutOfFuel)
}

/// A limit, for people.
fn bytes(limit: usize) -> String {
    if limit >> 20 == 0 {
        format!("{limit} bytes")
    } else {
        format!("{} MiB", limit >> 20)
    }
}

/// What happened, and what to do.
fn explain(error: &wasmtime::Error, store: &Store<State>, limits: &Limits) -> String {
    if store.data().limiter.refused {
        return format!(
            "it needs more than {} of memory; raise --policy-memory to let it",
            bytes(limits.memory)
        );
    }
    let root = error.root_cause().to_string();
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::OutOfFuel) => format!(
            "it was stopped after {} million instructions; raise --policy-fuel to let it go on",
            limits.fuel
        ),
        Some(wasmtime::Trap::StackOverflow) => {
            format!(
                "it recursed too deeply: its stack has {} KiB",
                Limits::STACK >> 10
            )
        }
        Some(wasmtime::Trap::UnreachableCodeReached) => {
            "it gave up (a panic, or an assertion that failed)".to_owned()
        }
        Some(trap) => format!("it trapped: {trap}"),
        None if root.contains("fuel") => format!(
            "it answered with more than {}; raise --policy-output to let it",
            bytes(limits.output)
        ),
        None => root,
    }
}

//! Policies that give way: where one fails, the reference's rules go on, and somebody is told.

use std::fmt;
use std::sync::Arc;

use crate::compression::{self, Choice, CompressionPolicy, Levels, Sample};
use crate::order::{self, OrderPolicy};
use crate::prefetch::{PrefetchPolicy, Target};
use crate::selection::{SelectionPolicy, Verdict};
use crate::{
    Ask, Candidate, Decision, Entry, Layer, Policy, PolicyError, SizeSpans, SpanPlanner, SpanPolicy,
};

/// Who is told of a policy that failed.
pub type Report = Arc<dyn Fn(&PolicyError) + Send + Sync>;

/// The policy, but it never fails: what it does not answer is decided as without it.
#[must_use]
pub fn or_default(policy: Policy, report: &Report) -> Policy {
    fn wrapped<T: ?Sized>(inner: Arc<T>, report: &Report) -> OrDefault<T> {
        OrDefault {
            inner,
            report: Arc::clone(report),
        }
    }
    Policy {
        gives_way: true,
        about: policy.about,
        span: policy
            .span
            .map(|inner| Arc::new(wrapped(inner, report)) as _),
        compression: (policy.compression).map(|inner| Arc::new(wrapped(inner, report)) as _),
        order: policy
            .order
            .map(|inner| Arc::new(wrapped(inner, report)) as _),
        selection: (policy.selection).map(|inner| Arc::new(wrapped(inner, report)) as _),
        prefetch: (policy.prefetch).map(|inner| Arc::new(wrapped(inner, report)) as _),
    }
}

struct OrDefault<T: ?Sized> {
    report: Report,
    inner: Arc<T>,
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for OrDefault<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} or the default", &self.inner)
    }
}

impl<T: ?Sized> OrDefault<T> {
    /// The answer; `None` if there was none, after a report.
    fn ask<R>(&self, answer: Result<R, PolicyError>) -> Option<R> {
        answer.map_err(|error| (self.report)(&error)).ok()
    }
}

impl SpanPolicy for OrDefault<dyn SpanPolicy> {
    fn planner(&self, layer: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
        let default = SizeSpans {
            span_size: layer.span_size,
        };
        Ok(match self.ask(self.inner.planner(layer)) {
            Some(inner) => Box::new(Planner {
                look_ahead: inner.look_ahead(),
                inner: Some(inner),
                default,
                report: Arc::clone(&self.report),
            }),
            None => Box::new(default),
        })
    }

    fn identity(&self) -> String {
        format!("{} or size", self.inner.identity())
    }
}

struct Planner {
    /// Until it fails.
    inner: Option<Box<dyn SpanPlanner>>,
    default: SizeSpans,
    look_ahead: Option<u64>,
    report: Report,
}

impl Planner {
    fn ask<R>(
        &mut self,
        ask: impl FnOnce(&mut dyn SpanPlanner) -> Result<R, PolicyError>,
    ) -> Option<R> {
        match ask(&mut **self.inner.as_mut()?) {
            Ok(answer) => Some(answer),
            Err(error) => {
                (self.report)(&error);
                self.inner = None;
                None
            }
        }
    }
}

impl SpanPlanner for Planner {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        match self.ask(|inner| inner.start()) {
            Some(ask) => Ok(ask),
            None => self.default.start(),
        }
    }

    fn decide(&mut self, at: &Candidate) -> Result<Decision, PolicyError> {
        match self.ask(|inner| inner.decide(at)) {
            Some(decision) => Ok(decision),
            None => self.default.decide(at),
        }
    }

    fn entry(&mut self, entry: &Entry<'_>) -> Result<(), PolicyError> {
        self.ask(|inner| inner.entry(entry));
        Ok(())
    }

    fn wants_entries(&self) -> bool {
        self.inner
            .as_ref()
            .is_some_and(|inner| inner.wants_entries())
    }

    fn look_ahead(&self) -> Option<u64> {
        self.look_ahead
    }
}

impl OrderPolicy for OrDefault<dyn OrderPolicy> {
    fn arrange(&self, layer: &Layer, entries: &[Entry<'_>]) -> Result<Vec<u32>, PolicyError> {
        let answer = order::arrange(&*self.inner, layer, entries);
        let as_given = || (0u32..).take(entries.len()).collect();
        Ok(self.ask(answer).unwrap_or_else(as_given))
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn identity(&self) -> String {
        format!("{} or as given", self.inner.identity())
    }
}

impl CompressionPolicy for OrDefault<dyn CompressionPolicy> {
    fn levels(&self, layer: &Layer) -> Result<Box<dyn Levels>, PolicyError> {
        Ok(match self.ask(self.inner.levels(layer)) {
            Some(inner) => Box::new(FileLevels {
                inner,
                failed: false,
                report: Arc::clone(&self.report),
            }),
            None => Box::new(TheLayers),
        })
    }

    fn identity(&self) -> String {
        format!("{} or the layer's level", self.inner.identity())
    }
}

/// Every file has the layer's level, and the layer the one that was asked for.
struct TheLayers;

impl Levels for TheLayers {
    fn name(&self) -> &'static str {
        "default"
    }

    fn file(&mut self, _: &Entry<'_>, _: Sample) -> Result<Option<u8>, PolicyError> {
        Ok(None)
    }
}

struct FileLevels {
    inner: Box<dyn Levels>,
    /// It is not asked again then.
    failed: bool,
    report: Report,
}

impl FileLevels {
    fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn Levels) -> Result<Option<T>, PolicyError>,
    ) -> Option<T> {
        if self.failed {
            return None;
        }
        ask(&mut *self.inner).unwrap_or_else(|error| {
            (self.report)(&error);
            self.failed = true;
            None
        })
    }
}

impl Levels for FileLevels {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn layer(&mut self) -> Result<Option<Choice>, PolicyError> {
        Ok(self.ask(compression::layer_choice))
    }

    fn file(&mut self, entry: &Entry<'_>, sample: Sample) -> Result<Option<u8>, PolicyError> {
        Ok(self.ask(|inner| compression::file_level(inner, entry, sample)))
    }
}

impl SelectionPolicy for OrDefault<dyn SelectionPolicy> {
    fn select(&self, layer: &Layer) -> Result<Verdict, PolicyError> {
        let by_size = || {
            let size = layer.size.unwrap_or(0);
            Verdict {
                index: size >= layer.min_layer_size,
                reason: format!(
                    "{size} bytes are less than the minimum of {} bytes",
                    layer.min_layer_size
                ),
            }
        };
        Ok(self.ask(self.inner.select(layer)).unwrap_or_else(by_size))
    }

    fn identity(&self) -> String {
        format!("{} or by size", self.inner.identity())
    }
}

impl PrefetchPolicy for OrDefault<dyn PrefetchPolicy> {
    fn choose(
        &self,
        layer: &Layer,
        entries: &[Entry<'_>],
        spans: &[u64],
    ) -> Result<Vec<Target>, PolicyError> {
        let answer = self.inner.choose(layer, entries, spans);
        Ok(self.ask(answer).unwrap_or_default())
    }

    fn identity(&self) -> String {
        format!("{} or nothing", self.inner.identity())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::About;

    #[derive(Debug)]
    struct Fails;

    impl SpanPlanner for Fails {
        fn start(&mut self) -> Result<Ask, PolicyError> {
            Ok(Ask {
                after: 1,
                at_entries: true,
            })
        }
        fn decide(&mut self, _: &Candidate) -> Result<Decision, PolicyError> {
            Err(PolicyError::new("fails 1", "decide", "it does not"))
        }
    }

    impl SpanPolicy for Fails {
        fn planner(&self, _: &Layer) -> Result<Box<dyn SpanPlanner>, PolicyError> {
            Ok(Box::new(Fails))
        }
        fn identity(&self) -> String {
            "fails".to_owned()
        }
    }

    impl OrderPolicy for Fails {
        fn arrange(&self, _: &Layer, _: &[Entry<'_>]) -> Result<Vec<u32>, PolicyError> {
            Ok(vec![0])
        }
        fn name(&self) -> &'static str {
            "fails 1"
        }
        fn identity(&self) -> String {
            "fails".to_owned()
        }
    }

    #[test]
    fn the_default_goes_on_and_it_is_said_once() {
        let mut policy = Policy::new(About {
            name: "fails".to_owned(),
            digest: None,
            parameters: serde_json::json!({}),
        });
        policy.span = Some(Arc::new(Fails));
        policy.order = Some(Arc::new(Fails));
        let told = Arc::new(Mutex::new(Vec::new()));
        let report: Report = {
            let told = Arc::clone(&told);
            Arc::new(move |error: &PolicyError| told.lock().unwrap().push(error.to_string()))
        };
        let policy = or_default(policy, &report);
        let layer = Layer::packed("", 100);
        let mut planner = policy.span.unwrap().planner(&layer).unwrap();
        planner.start().unwrap();
        for (at, cut) in [(50, false), (101, true)] {
            let candidate = Candidate {
                compressed: 0,
                uncompressed: at,
                since_cut: at,
                next: at,
                known: at,
            };
            assert_eq!(planner.decide(&candidate).unwrap().cut, cut);
        }
        assert_eq!(
            policy.order.unwrap().arrange(&layer, &[]).unwrap(),
            Vec::<u32>::new()
        );
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("it does not") && told[1].contains("came back"));
    }
}

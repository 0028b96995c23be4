//! Whatever a policy answers, a layer is packed that can be read, or is refused: the input's bytes are the answers.
#![no_main]

use std::sync::{Arc, Mutex};

use libfuzzer_sys::fuzz_target;
use sociable_layer::pack::{arranged, pack_plain};
use sociable_layer::{
    Compression, IndexError, IndexOptions, Limits, PackError, PackOptions, index, pack,
};
use sociable_policy::compression::{
    Choice, CompressionPolicy, Format, Levels, Sample, layer_choice,
};
use sociable_policy::order::OrderPolicy;
use sociable_policy::{Ask, Candidate, Decision, Entry, Layer, PolicyError, SpanPlanner};
use sociable_tar::{Header, Kind};
use sociable_ztoc::{EntryKind, LayerReader, Ztoc};

/// Gives one byte of the input after another, from its end; zeros when there are no more.
#[derive(Debug, Clone)]
struct Policy(Arc<Mutex<Vec<u8>>>);

impl Policy {
    fn byte(&self) -> u8 {
        self.0
            .lock()
            .map_or(0, |mut bytes| bytes.pop().unwrap_or(0))
    }

    /// Small, large, or beyond everything.
    fn number(&self) -> u64 {
        match self.byte() {
            byte @ 0..=199 => u64::from(byte) << (self.byte() % 20),
            200..=227 => u64::MAX - u64::from(self.byte()),
            _ => 0,
        }
    }

    fn ask(&self) -> Ask {
        Ask {
            after: self.number(),
            at_entries: self.byte() % 2 == 1,
        }
    }

    fn fails(&self, function: &'static str) -> Result<(), PolicyError> {
        match self.byte() {
            255 => Err(PolicyError::new("fuzzed", function, "no")),
            _ => Ok(()),
        }
    }
}

impl SpanPlanner for Policy {
    fn start(&mut self) -> Result<Ask, PolicyError> {
        self.fails("span.start")?;
        Ok(self.ask())
    }
    fn decide(&mut self, _: &Candidate) -> Result<Decision, PolicyError> {
        self.fails("span.decide")?;
        Ok(Decision {
            cut: self.byte() % 2 == 1,
            ask: self.ask(),
        })
    }
    fn wants_entries(&self) -> bool {
        true
    }
    fn look_ahead(&self) -> Option<u64> {
        (self.byte() % 2 == 1).then(|| self.number())
    }
}

impl OrderPolicy for Policy {
    fn arrange(&self, _: &Layer, entries: &[Entry<'_>]) -> Result<Vec<u32>, PolicyError> {
        self.fails("order.arrange")?;
        Ok(match self.byte() % 4 {
            // The same place twice, one left out, or one that is not there.
            0 => entries.iter().map(|_| u32::from(self.byte())).collect(),
            1 => (0..entries.len() as u32).rev().collect(),
            // Keys of a sort, which keeps all.
            _ => {
                let mut keyed: Vec<(u8, u32)> = (0..entries.len() as u32)
                    .map(|place| (self.byte(), place))
                    .collect();
                keyed.sort_unstable();
                keyed.into_iter().map(|(_, place)| place).collect()
            }
        })
    }
    fn name(&self) -> &str {
        "fuzzed"
    }
    fn identity(&self) -> String {
        "fuzzed".to_owned()
    }
}

impl CompressionPolicy for Policy {
    fn levels(&self, _: &Layer) -> Result<Box<dyn Levels>, PolicyError> {
        self.fails("compression.levels")?;
        Ok(Box::new(self.clone()))
    }
    fn identity(&self) -> String {
        "fuzzed".to_owned()
    }
}

impl Levels for Policy {
    fn name(&self) -> &str {
        "fuzzed"
    }
    fn layer(&mut self) -> Result<Option<Choice>, PolicyError> {
        let format = match self.byte() % 4 {
            0 => return Ok(None),
            1 => Format::None,
            _ => Format::Gzip,
        };
        let level = self.byte() % 11;
        Ok(Some(Choice { format, level }))
    }
    fn file(&mut self, _: &Entry<'_>, _: Sample) -> Result<Option<u8>, PolicyError> {
        self.fails("compression.file")?;
        let level = self.byte();
        Ok((level % 3 > 0).then_some(level % 11))
    }
}

fn tree() -> Vec<(Header, Vec<u8>)> {
    let file = |name: &str, content: Vec<u8>| {
        let size = content.len() as u64;
        (Header::new(name, Kind::File { size }), content)
    };
    let text = |length: usize| (0..length).map(|n| (n % 61) as u8).collect();
    let mut state = 1u64;
    let noise = |length: usize| {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..length).map(|_| next()).collect::<Vec<u8>>()
    };
    let mut noise = noise;
    let link = Kind::HardLink {
        target: "d/a".into(),
    };
    vec![
        (Header::new("d", Kind::Directory), Vec::new()),
        file("d/a", noise(70_000)),
        file("d/b", text(30_000)),
        (Header::new("d/c", link), Vec::new()),
        file("e", Vec::new()),
        file("f", text(200_000)),
    ]
}

fn options<'a>(
    planner: &'a mut dyn SpanPlanner,
    levels: Option<&'a mut dyn Levels>,
    level: u8,
) -> PackOptions<'a> {
    PackOptions {
        build_tool_identifier: "fuzz".into(),
        span_size: 50_000,
        planner,
        level,
        levels,
        jobs: 2,
        limits: Limits::default(),
        allow_unreadable: false,
        progress: None,
    }
}

/// Every file is what it was.
fn read(ztoc: &Ztoc, blob: &Vec<u8>) {
    let known = tree();
    let mut reader = LayerReader::open(ztoc, blob).expect("a layer that was packed");
    for entry in ztoc.entries.iter().filter(|e| e.kind == EntryKind::File) {
        let mut content = Vec::new();
        reader
            .copy_entry(entry, &mut content)
            .expect("a file that was packed");
        let (_, packed) = known
            .iter()
            .find(|(header, _)| header.name == entry.name)
            .expect("a file of the tree");
        assert!(content == *packed);
    }
    assert_eq!(ztoc.entries.len(), known.len());
}

fn packed(policy: &Policy) -> Option<Vec<u8>> {
    let facts = Layer::packed("", 50_000);
    let mut levels = policy.levels(&facts).ok()?;
    let choice = layer_choice(&mut *levels).ok()?;
    let (format, level) = choice.map_or((Format::Gzip, 6), |c| (c.format, c.level));
    let entries = tree()
        .into_iter()
        .map(Ok::<_, sociable_layer::pack::SourceError>);
    let entries = arranged(entries, policy, &facts).ok()?;
    let entries = entries.into_iter().map(Ok);
    let (mut blob, mut planner) = (Vec::new(), policy.clone());
    let packed = match format {
        Format::None => pack_plain(entries, &mut blob, options(&mut planner, None, level)),
        _ => pack(
            entries,
            &mut blob,
            options(&mut planner, Some(&mut *levels), level),
        ),
    };
    match packed {
        Ok(packed) => read(&packed.ztoc, &blob),
        // The policy's own, or more spans than there may be.
        Err(PackError::Policy(_) | PackError::Limit { .. }) => return None,
        Err(error) => panic!("{error}"),
    }
    (format != Format::None).then_some(blob)
}

fuzz_target!(|answers: &[u8]| {
    let policy = Policy(Arc::new(Mutex::new(answers.to_vec())));
    let Some(blob) = packed(&policy) else {
        return;
    };
    let mut planner = Policy(Arc::new(Mutex::new(answers.to_vec())));
    let options = IndexOptions {
        build_tool_identifier: "fuzz".into(),
        span_size: 50_000,
        planner: &mut planner,
        diff_id: true,
        allow_unreadable: false,
        limits: Limits::default(),
    };
    match index(&*blob, Compression::Gzip, options) {
        Ok(indexed) => read(&indexed.ztoc, &blob),
        Err(IndexError::Policy(_) | IndexError::Limit { .. }) => {}
        Err(error) => panic!("{error}"),
    }
});

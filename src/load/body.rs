//! Bodies: made before the run, and given new sequence numbers for each sending without being made anew.

use super::id::{self, Counter, RunId, SEQUENCE_AT, SEQUENCE_WIDTH};
use super::lines::Lines;
use super::random::Random;
use bytes::{Bytes, BytesMut};
use flate2::write::GzEncoder;
use std::io::{self, Write};
use std::ops::RangeInclusive;

/// Larger bodies are not made in variants: memory would be all that varies.
const VARIANTS_BYTES_MAX: usize = 64 * 1_024;
const VARIANTS: usize = 4;

/// How bodies are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Encoding {
    #[default]
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What the request's head calls it.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    pub(super) fn encode(self, plain: &Bytes) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(plain.clone()),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(plain)?;
                Ok(encoder.finish()?.into())
            }
            Self::Zstd => Ok(zstd::bulk::compress(plain, 1)?.into()),
        }
    }
}

/// What bodies are made of.
#[derive(Debug, Clone)]
pub(super) struct Recipe {
    pub lines: Lines,
    pub batch_lines: usize,
    /// How many of a batch's lines are no JSON objects.
    pub bad_lines: usize,
    pub encoding: Encoding,
}

/// What went into one body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub good: Option<RangeInclusive<u64>>,
    pub bad: Option<RangeInclusive<u64>>,
    /// Without compression.
    pub plain_bytes: usize,
}

impl Sent {
    pub(super) fn good_lines(&self) -> u64 {
        self.good.as_ref().map_or(0, |lines| lines.end() - lines.start() + 1)
    }

    pub(super) fn bad_lines(&self) -> u64 {
        self.bad.as_ref().map_or(0, |lines| lines.end() - lines.start() + 1)
    }
}

/// The bodies of one connection, in turn.
pub(super) struct Bodies {
    variants: Vec<Body>,
    at: usize,
    good: Counter,
    bad: Counter,
    encoding: Encoding,
}

struct Body {
    plain: Bytes,
    /// Where the sequence numbers of good and bad lines are.
    good_at: Vec<usize>,
    bad_at: Vec<usize>,
}

impl Bodies {
    /// For the connection whose good lines take the lane `lane`, and whose bad ones the next.
    pub(super) fn new(recipe: &Recipe, run: RunId, lane: u32, seed: u64) -> Self {
        let mut random = Random::new(seed, u64::from(lane));
        let first = Body::new(recipe, run, lane, &mut random);
        let more = if first.plain.len() > VARIANTS_BYTES_MAX { 0 } else { VARIANTS - 1 };
        let mut variants = vec![first];
        variants.extend((0..more).map(|_| Body::new(recipe, run, lane, &mut random)));
        Self { variants, at: 0, good: Counter::new(), bad: Counter::new(), encoding: recipe.encoding }
    }

    /// The next body, every line of which has a number of its own.
    pub(super) fn next(&mut self) -> io::Result<(Bytes, Sent, Encoding)> {
        let (good, bad) = (self.good.next(), self.bad.next());
        self.at = (self.at + 1) % self.variants.len();
        let body = &mut self.variants[self.at];
        body.stamp(&mut self.good, &mut self.bad);
        let sent = Sent {
            good: self.good.taken_since(good),
            bad: self.bad.taken_since(bad),
            plain_bytes: body.plain.len(),
        };
        Ok((self.encoding.encode(&body.plain)?, sent, self.encoding))
    }
}

impl Body {
    fn new(recipe: &Recipe, run: RunId, lane: u32, random: &mut Random) -> Self {
        let (good_id, bad_id) = (id::first(run, lane), id::first(run, lane + 1));
        let (mut plain, mut good_at, mut bad_at) = (vec![], vec![], vec![]);
        for number in 0..recipe.batch_lines {
            // The bad ones are spread evenly.
            let share = |lines: usize| lines * recipe.bad_lines / recipe.batch_lines;
            let is_bad = share(number + 1) > share(number);
            let line = recipe.lines.next(if is_bad { &bad_id } else { &good_id }, random);
            let at = if is_bad { &mut bad_at } else { &mut good_at };
            at.push(plain.len() + line.id_at + SEQUENCE_AT);
            let start = plain.len();
            plain.extend_from_slice(&line.bytes);
            if is_bad {
                let number = bad_at.len();
                spoil(&mut plain, start, number, &mut bad_at);
            }
            plain.push(b'\n');
        }
        Self { plain: plain.into(), good_at, bad_at }
    }

    /// Writes new numbers into the lines. The buffer is this body's own again once its last sending is over; if an
    /// answer came before all of it was sent, it may not be, and is copied.
    fn stamp(&mut self, good: &mut Counter, bad: &mut Counter) {
        let mut plain = match std::mem::take(&mut self.plain).try_into_mut() {
            Ok(own) => own,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        for (places, counter) in [(&self.good_at, good), (&self.bad_at, bad)] {
            for at in places {
                plain[*at..*at + SEQUENCE_WIDTH].copy_from_slice(&counter.take());
            }
        }
        self.plain = plain.freeze();
    }
}

/// Makes the line that begins at `start` one that must be refused: each in another way.
fn spoil(plain: &mut Vec<u8>, start: usize, number: usize, at: &mut [usize]) {
    match number % 3 {
        // Cut short.
        0 => plain.truncate(plain.len() - 2),
        // In an array.
        1 => {
            plain.insert(start, b'[');
            plain.push(b']');
            if let Some(at) = at.last_mut() {
                *at += 1;
            }
        }
        // Not UTF-8.
        _ => {
            let end = plain.len() - 2;
            plain.splice(end..end, *b"\xff\xfe");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines::Shape;
    use super::*;
    use serde_json::Value;
    use std::io::Read;

    const RUN: RunId = RunId(0xfeed);

    fn recipe(batch_lines: usize, bad_lines: usize, encoding: Encoding) -> Recipe {
        let lines = Lines::Made { shape: Shape::Mixed, line_bytes: None, timestamp: "t".to_owned() };
        Recipe { lines, batch_lines, bad_lines, encoding }
    }

    type Ids = Vec<(u32, u64)>;

    /// The ids of the lines that are JSON objects, and of those that are not.
    fn ids(body: &[u8]) -> (Ids, Ids) {
        let finder = id::Finder::of(RUN);
        let lines = body.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n');
        let (good, bad): (Vec<&[u8]>, Vec<&[u8]>) =
            lines.partition(|line| serde_json::from_slice::<Value>(line).is_ok_and(|line| line.is_object()));
        let ids = |lines: Vec<&[u8]>| lines.iter().map(|line| finder.find(line).unwrap()).collect();
        (ids(good), ids(bad))
    }

    #[test]
    fn every_sending_has_new_numbers_and_stays_json() {
        for batch_lines in [1, 7, 100] {
            let mut bodies = Bodies::new(&recipe(batch_lines, 0, Encoding::Identity), RUN, 6, 1);
            for round in 0..10 {
                let first = round * batch_lines as u64;
                let (body, sent, _) = bodies.next().unwrap();
                let expect = first..=first + batch_lines as u64 - 1;
                assert_eq!((&sent.good, &sent.bad), (&Some(expect.clone()), &None));
                assert_eq!(ids(&body), (expect.map(|sequence| (6, sequence)).collect(), vec![]));
            }
        }
    }

    #[test]
    fn bad_lines_have_a_lane_of_their_own() {
        let mut bodies = Bodies::new(&recipe(20, 5, Encoding::Identity), RUN, 6, 1);
        bodies.next().unwrap();
        let (body, sent, _) = bodies.next().unwrap();
        assert_eq!((sent.good_lines(), sent.bad_lines()), (15, 5));
        let lane = |lane, sequences: RangeInclusive<u64>| sequences.map(|n| (lane, n)).collect::<Vec<_>>();
        assert_eq!(ids(&body), (lane(6, 15..=29), lane(7, 5..=9)));
    }

    #[test]
    fn a_body_still_being_sent_is_left_alone() {
        let mut bodies = Bodies::new(&recipe(1, 0, Encoding::Identity), RUN, 6, 1);
        let kept: Vec<_> = (0..20).map(|_| bodies.next().unwrap().0).collect();
        for (sequence, body) in kept.iter().enumerate() {
            assert_eq!(ids(body).0, [(6, sequence as u64)]);
        }
    }

    #[test]
    fn compression_can_be_undone() {
        let plain = Bodies::new(&recipe(50, 0, Encoding::Identity), RUN, 6, 1).next().unwrap().0;
        let sent = |encoding| Bodies::new(&recipe(50, 0, encoding), RUN, 6, 1).next().unwrap().0;
        let mut gunzipped = vec![];
        flate2::read::GzDecoder::new(&sent(Encoding::Gzip)[..]).read_to_end(&mut gunzipped).unwrap();
        assert_eq!(gunzipped, plain);
        assert_eq!(zstd::decode_all(&sent(Encoding::Zstd)[..]).unwrap(), plain);
    }
}

//! The ledger's first page: who uses which token, counted in memory between two reports to the control plane.
//!
//! A batch costs a look-up and a few additions. Everything is bounded: the tokens told apart, the clients of each, and
//! the digests of tokens that the directory does not hold, of which anybody may send any number. When those tables are full,
//! a digest gets in only when it comes a second time, and then in place of one that came least: a flood of random ones does
//! not push out the shipper that was forgotten. The control plane says which of the digests it knows; those stay.

use super::doors;
use super::refusal::Refusal;
use crate::domain::account::TokenId;
use crate::domain::token::TokenDigest;
use crate::domain::usage::{
    AGENT_BYTES_MAX, CLIENTS_MAX, ClientUse, StrangerUse, Sums, TokenUse, Usage, WOULD_REFUSE, day_of,
    minute_of,
};
use crate::journal::Receipt;
use crate::metrics::Metrics;
use crate::sync::report::Ledger;
use hyper::http::{header, request};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SHARDS: usize = 16;
/// How many tokens' days are told apart between two reports.
const TOKENS_MAX: usize = 1 << 17;
/// How many digests that the directory does not hold are told apart.
const STRANGERS_MAX: usize = 1 << 10;
/// How many of them may be ones that the control plane knows, and so stay.
const KNOWN_MAX: usize = STRANGERS_MAX / 2;

/// What is noted of a request on its way down the line.
#[derive(Debug, Clone, Copy, Default)]
pub struct Use {
    pub digest: Option<TokenDigest>,
    /// Once it is admitted.
    pub token: Option<TokenId>,
    /// Of the lines that were stored.
    pub bytes: u64,
    /// It was let pass only because its token's refusal is a dry run.
    pub would_refuse: bool,
}

/// See the module's header.
pub struct Uses {
    tokens: [Mutex<HashMap<(TokenId, u32), Counted>>; SHARDS],
    strangers: [Mutex<Strangers>; SHARDS],
    metrics: Arc<Metrics>,
}

/// One token's day.
#[derive(Default)]
struct Counted {
    sums: Sums,
    first_minute: u32,
    last_minute: u32,
    refusals: Vec<(&'static str, u64)>,
    clients: Clients,
}

impl Counted {
    fn refused(&mut self, code: &'static str) {
        match self.refusals.iter_mut().find(|(known, _)| *known == code) {
            Some((_, requests)) => *requests += 1,
            None => self.refusals.push((code, 1)),
        }
    }
}

impl Uses {
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { tokens: Default::default(), strangers: Default::default(), metrics }
    }

    /// Counts a request that is answered. `unix_ms`: now, by the control plane's clock.
    pub fn count(
        &self,
        used: Use,
        source: IpAddr,
        head: &request::Parts,
        unix_ms: u64,
        outcome: &Result<Receipt, Refusal>,
    ) {
        let agent = head.headers.get(header::USER_AGENT).map_or(&[][..], |agent| agent.as_bytes());
        let client = Client { source, agent: &agent[..agent.len().min(AGENT_BYTES_MAX)] };
        let minute = minute_of(unix_ms);
        match (used.token, used.digest, outcome) {
            (Some(token), _, Ok(receipt)) => {
                let tally = receipt.tally();
                let refused_lines = tally.lines() - tally.successful - tally.empty;
                let sums = Sums { requests: 1, lines: tally.successful, bytes: used.bytes, refused_lines };
                self.accept(token, client, minute, sums);
                if used.would_refuse {
                    self.with(token, minute, |counted| counted.refused(WOULD_REFUSE));
                }
            }
            (Some(token), _, Err(refusal)) => self.refuse(token, client, minute, refusal.code()),
            (None, Some(digest), Err(Refusal::TokenNotValid)) => self.meet(digest, client, minute),
            _ => {}
        }
    }

    /// Counts a batch that was accepted.
    pub fn accept(&self, token: TokenId, client: Client<'_>, minute: u32, sums: Sums) {
        self.with(token, minute, |counted| {
            if counted.sums.requests == 0 {
                counted.first_minute = minute;
            }
            counted.last_minute = counted.last_minute.max(minute);
            counted.sums.add(sums);
            counted.clients.add(client, minute);
        });
    }

    fn refuse(&self, token: TokenId, client: Client<'_>, minute: u32, code: &'static str) {
        self.with(token, minute, |counted| {
            counted.refused(code);
            counted.clients.add(client, minute);
        });
    }

    fn with(&self, token: TokenId, minute: u32, count: impl FnOnce(&mut Counted)) {
        let mut tokens = lock(&self.tokens[token.0 as usize % SHARDS]);
        let key = (token, day_of(minute));
        if let Some(counted) = tokens.get_mut(&key) {
            count(counted);
        } else if tokens.len() < TOKENS_MAX / SHARDS {
            count(tokens.entry(key).or_default());
        } else {
            self.metrics.gateway.usage_dropped.inc();
        }
    }

    /// Counts a digest that the directory does not hold.
    pub fn meet(&self, digest: TokenDigest, client: Client<'_>, minute: u32) {
        if !lock(self.shard(&digest)).meet(digest, client, minute) {
            self.metrics.gateway.usage_dropped.inc();
        }
    }

    fn shard(&self, digest: &TokenDigest) -> &Mutex<Strangers> {
        &self.strangers[usize::from(digest.as_bytes()[31]) % SHARDS]
    }
}

impl Ledger for Uses {
    fn take(&self) -> Usage {
        let mut usage = Usage::default();
        for shard in &self.tokens {
            let counted = std::mem::take(&mut *lock(shard));
            usage.tokens.extend(counted.into_iter().map(|((token, day), counted)| TokenUse {
                token,
                day,
                sums: counted.sums,
                first_minute: counted.first_minute,
                last_minute: counted.last_minute,
                refusals: counted.refusals.iter().map(|(code, n)| ((*code).to_owned(), *n)).collect(),
                clients: counted.clients.take(),
            }));
        }
        for shard in &self.strangers {
            lock(shard).take(&mut usage.strangers);
        }
        usage
    }

    fn refusals(&self) -> BTreeMap<String, u64> {
        let mut refusals = BTreeMap::new();
        for (door, code) in doors::outcomes().filter(|(_, code)| Refusal::CODES.contains(code)) {
            let requests = self.metrics.gateway.requests.with_label_values(&[door, code]).get();
            if requests > 0 {
                *refusals.entry(code.to_owned()).or_default() += requests;
            }
        }
        refusals
    }

    fn keep(&self, known: &[TokenDigest]) {
        for digest in known {
            lock(self.shard(digest)).keep(*digest);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whoever panicked may have left a count half added, which is no reason to count no more.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who sent a request, and what it calls itself: as much of that as is kept.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    pub source: IpAddr,
    pub agent: &'a [u8],
}

/// The few that sent most.
#[derive(Default)]
struct Clients(Vec<ClientCount>);

struct ClientCount {
    source: IpAddr,
    agent: Box<[u8]>,
    requests: u64,
    last_minute: u32,
}

impl Clients {
    fn add(&mut self, client: Client<'_>, minute: u32) {
        let same = |known: &&mut ClientCount| known.source == client.source && *known.agent == *client.agent;
        if let Some(known) = self.0.iter_mut().find(same) {
            known.requests += 1;
            known.last_minute = minute;
            return;
        }
        let fresh = ClientCount {
            source: client.source,
            agent: client.agent.into(),
            requests: 1,
            last_minute: minute,
        };
        if self.0.len() < CLIENTS_MAX {
            self.0.push(fresh);
        } else if let Some(least) = self.0.iter_mut().min_by_key(|known| known.requests) {
            *least = fresh;
        }
    }

    fn take(self) -> Vec<ClientUse> {
        let printable = |byte: &u8| match byte {
            b'"' | b'\\' => '\'',
            b' '..=b'~' => char::from(*byte),
            _ => '?',
        };
        let clients = self.0.into_iter().map(|client| ClientUse {
            source: client.source,
            agent: client.agent.iter().map(printable).collect(),
            requests: client.requests,
            last_minute: client.last_minute,
        });
        clients.collect()
    }
}

/// Digests that the directory does not hold.
#[derive(Default)]
struct Strangers {
    seats: Vec<Seat>,
    index: HashMap<TokenDigest, usize>,
    /// Who came while there was no seat.
    queue: Queue,
}

struct Seat {
    digest: TokenDigest,
    requests: u64,
    last_minute: u32,
    clients: Clients,
    /// The control plane knows it.
    known: bool,
}

impl Strangers {
    /// Says whether it is counted.
    fn meet(&mut self, digest: TokenDigest, client: Client<'_>, minute: u32) -> bool {
        let Some(at) = self.seat_of(digest) else { return false };
        let seat = &mut self.seats[at];
        seat.requests += 1;
        seat.last_minute = minute;
        seat.clients.add(client, minute);
        true
    }

    fn seat_of(&mut self, digest: TokenDigest) -> Option<usize> {
        if let Some(at) = self.index.get(&digest) {
            return Some(*at);
        }
        if self.seats.len() < STRANGERS_MAX / SHARDS {
            self.seats.push(Seat::new(digest));
            self.index.insert(digest, self.seats.len() - 1);
            return Some(self.seats.len() - 1);
        }
        if !self.queue.has_come_before(&digest) {
            return None;
        }
        let others = self.seats.iter_mut().enumerate().filter(|(_, seat)| !seat.known);
        let (at, least) = others.min_by_key(|(_, seat)| seat.requests)?;
        self.index.remove(&least.digest);
        *least = Seat::new(digest);
        self.index.insert(digest, at);
        Some(at)
    }

    /// Gives away what was counted. The known ones keep their seats.
    fn take(&mut self, into: &mut Vec<StrangerUse>) {
        let mut known = vec![];
        for mut seat in std::mem::take(&mut self.seats) {
            if seat.known {
                known.push(Seat { known: true, last_minute: seat.last_minute, ..Seat::new(seat.digest) });
            }
            if seat.requests > 0 {
                into.push(StrangerUse {
                    digest: seat.digest,
                    requests: seat.requests,
                    last_minute: seat.last_minute,
                    clients: std::mem::take(&mut seat.clients).take(),
                });
            }
        }
        self.index = known.iter().enumerate().map(|(at, seat)| (seat.digest, at)).collect();
        self.seats = known;
    }

    fn keep(&mut self, digest: TokenDigest) {
        let known = self.seats.iter().filter(|seat| seat.known).count();
        let is_known = self.index.get(&digest).is_some_and(|at| self.seats[*at].known);
        if !is_known && known >= KNOWN_MAX / SHARDS {
            // The one that has been quiet for longest is known no more.
            let known = self.seats.iter_mut().filter(|seat| seat.known);
            if let Some(quiet) = known.min_by_key(|seat| seat.last_minute) {
                quiet.known = false;
            }
        }
        if let Some(at) = self.index.get(&digest) {
            self.seats[*at].known = true;
        } else if self.seats.len() < STRANGERS_MAX / SHARDS {
            self.index.insert(digest, self.seats.len());
            self.seats.push(Seat { known: true, ..Seat::new(digest) });
        }
    }
}

impl Seat {
    fn new(digest: TokenDigest) -> Self {
        Self { digest, requests: 0, last_minute: 0, clients: Clients::default(), known: false }
    }
}

/// Remembers who came before, in so many bits that few are taken for others: a Bloom filter. Digests are random as they are.
#[derive(Default)]
struct Queue {
    bits: Vec<u64>,
    came: usize,
}

/// Bits of one shard's filter.
const QUEUE_BITS: usize = 1 << 19;
/// Beyond so many too many would be taken for others: all are forgotten.
const QUEUE_MAX: usize = QUEUE_BITS / 10;

impl Queue {
    fn has_come_before(&mut self, digest: &TokenDigest) -> bool {
        if self.bits.is_empty() || self.came >= QUEUE_MAX {
            self.bits.clear();
            self.bits.resize(QUEUE_BITS / 64, 0);
            self.came = 0;
        }
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        let (first, second) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        let mut all = true;
        for hash in [first, second] {
            let bit = hash as usize % QUEUE_BITS;
            let (word, mask) = (&mut self.bits[bit / 64], 1 << (bit % 64));
            all &= *word & mask != 0;
            *word |= mask;
        }
        self.came += usize::from(!all);
        all
    }
}

#[cfg(test)]
mod tests;

//! A persistent map: the shape behind the directory.
//!
//! A clone costs one reference count. A change to a clone copies the way from the root to one leaf, 32 counts a level and at
//! most [`LEAF_MAX`] entries, and shares all the rest; there are about `log32(n / 64)` levels. A map that nobody shares
//! changes in place, so that loading a snapshot copies nothing. A look-up takes no lock, allocates nothing, and ends in a
//! leaf whose entries lie in the order of their hashes: as these are evenly spread, it begins where the key should be. So the whole
//! map lies in that order, and two maps, or a map and a sorted stream, can be compared walking along.

use std::sync::Arc;

const BITS: u32 = 5;
const FAN_OUT: usize = 1 << BITS;

/// Entries of a leaf before it is split. Small in tests, so that they see many levels.
const LEAF_MAX: usize = if cfg!(test) { 4 } else { 128 };

/// A key with a hash of its own: evenly spread, and different for different keys but for the most unlikely accident.
/// Keys are ordered by it; those with the same hash by themselves.
pub trait Spread: Ord + Copy {
    fn spread(&self) -> u64;
}

/// See the module's header.
#[derive(Debug)]
pub struct Trie<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a box would cost every look-up another cache miss")]
enum Node<K, V> {
    Branch([Arc<Node<K, V>>; FAN_OUT]),
    /// In the order of their hashes.
    Leaf(Vec<(K, V)>),
}

impl<K, V> Clone for Trie<K, V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<K, V> Default for Trie<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::Leaf(Vec::new())), len: 0 }
    }
}

impl<K: Spread, V: Clone> Trie<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    #[cfg(test)]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.root, &other.root)
    }

    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        // What is left of the hash, from the top.
        let mut rest = key.spread();
        let mut node = &*self.root;
        loop {
            match node {
                Node::Branch(children) => {
                    node = &children[child(rest)];
                    rest <<= BITS;
                }
                Node::Leaf(entries) => return find(entries, key, rest).ok().map(|at| &entries[at].1),
            }
        }
    }

    pub fn insert(&mut self, key: K, value: V) {
        self.len += usize::from(insert(Arc::make_mut(&mut self.root), key, value, 0));
    }

    /// Takes a key out; a key that is not there leaves everything shared as it was.
    pub fn remove(&mut self, key: &K) {
        if self.get(key).is_none() {
            return;
        }
        let mut rest = key.spread();
        let mut node = &mut self.root;
        loop {
            match Arc::make_mut(node) {
                Node::Branch(children) => {
                    node = &mut children[child(rest)];
                    rest <<= BITS;
                }
                Node::Leaf(entries) => {
                    if let Ok(at) = find(entries, key, rest) {
                        entries.remove(at);
                        self.len -= 1;
                    }
                    return;
                }
            }
        }
    }

    /// The entry that follows where `key` stands, or would; the first one for `None`. In the order of the hashes.
    pub fn after(&self, key: Option<&K>) -> Option<&(K, V)> {
        let mut rest = key.map_or(0, K::spread);
        let mut node = &*self.root;
        // Where to go on when the leaf has no more: what stands right of the way down, nearest last.
        let mut right: Vec<&[Arc<Node<K, V>>]> = Vec::new();
        loop {
            match node {
                Node::Branch(children) => {
                    let at = child(rest);
                    right.push(&children[at + 1..]);
                    node = &children[at];
                    rest <<= BITS;
                }
                Node::Leaf(entries) => {
                    let at = key.map_or(0, |key| match find(entries, key, rest) {
                        Ok(at) => at + 1,
                        Err(at) => at,
                    });
                    return entries.get(at).or_else(|| right.iter().rev().find_map(|nodes| first_of(nodes)));
                }
            }
        }
    }

    /// Every entry, in the order of the hashes.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        let mut waiting = vec![&*self.root];
        let mut leaf = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some(entry) = leaf.next() {
                    return Some(entry);
                }
                match waiting.pop()? {
                    Node::Branch(children) => waiting.extend(children.iter().rev().map(|child| &**child)),
                    Node::Leaf(entries) => leaf = entries.iter(),
                }
            }
        })
    }
}

/// The first entry below any of `nodes`.
fn first_of<K, V>(nodes: &[Arc<Node<K, V>>]) -> Option<&(K, V)> {
    nodes.iter().find_map(|node| match &**node {
        Node::Branch(children) => first_of(children),
        Node::Leaf(entries) => entries.first(),
    })
}

/// Which child of a branch the top bits lead to.
fn child(rest: u64) -> usize {
    (rest >> (u64::BITS - BITS)) as usize
}

/// Puts an entry below `node`, which lies `used` bits deep. Whether the key is new.
fn insert<K: Spread, V: Clone>(node: &mut Node<K, V>, key: K, value: V, used: u32) -> bool {
    let rest = key.spread() << used;
    match node {
        Node::Branch(children) => insert(Arc::make_mut(&mut children[child(rest)]), key, value, used + BITS),
        Node::Leaf(entries) => match find(entries, &key, rest) {
            Ok(at) => {
                entries[at].1 = value;
                false
            }
            Err(at) => {
                entries.insert(at, (key, value));
                if entries.len() > LEAF_MAX && used + 2 * BITS < u64::BITS {
                    *node = split(std::mem::take(entries), used);
                }
                true
            }
        },
    }
}

/// A branch with the entries of a full leaf that lies `used` bits deep.
fn split<K: Spread, V>(entries: Vec<(K, V)>, used: u32) -> Node<K, V> {
    let mut leaves: [Vec<(K, V)>; FAN_OUT] = std::array::from_fn(|_| Vec::new());
    for (key, value) in entries {
        leaves[child(key.spread() << used)].push((key, value));
    }
    Node::Branch(leaves.map(|leaf| Arc::new(Node::Leaf(leaf))))
}

/// Where a key stands in a leaf, or where it would. `rest` is what the way to the leaf has left of its hash: the first look
/// goes to the place it points at.
#[inline]
fn find<K: Spread, V>(entries: &[(K, V)], key: &K, rest: u64) -> Result<usize, usize> {
    let spread = key.spread();
    let mut at = (((rest >> 32) * entries.len() as u64) >> 32) as usize;
    while at < entries.len() && entries[at].0.spread() < spread {
        at += 1;
    }
    while at > 0 && entries[at - 1].0.spread() >= spread {
        at -= 1;
    }
    while let Some((found, _)) = entries.get(at).filter(|(found, _)| found.spread() == spread) {
        // Almost always it is the key: asked first, and for equality, which costs half of asking for the order.
        if found == key {
            return Ok(at);
        }
        if found > key {
            break;
        }
        at += 1;
    }
    Err(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashMap};

    /// A key whose hash is of the test's choosing.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    struct Key {
        spread: u64,
        n: u8,
    }

    impl Spread for Key {
        fn spread(&self) -> u64 {
            self.spread
        }
    }

    fn keys() -> impl Strategy<Value = Key> {
        // Evenly spread, in a bunch at one end, and equal in every bit.
        let spread = prop_oneof![any::<u64>(), 0..50u64, Just(u64::MAX), (0..64u32).prop_map(|bit| 1 << bit)];
        (spread, 0..3u8).prop_map(|(spread, n)| Key { spread, n })
    }

    proptest! {
        #[test]
        fn is_a_hash_map_whatever_the_hashes(steps in prop::collection::vec((keys(), any::<Option<u16>>()), 0..300)) {
            let (mut trie, mut model) = (Trie::default(), HashMap::new());
            let (mut before, mut model_before) = (trie.clone(), model.clone());
            for (n, (key, value)) in steps.iter().enumerate() {
                if n == steps.len() / 2 {
                    (before, model_before) = (trie.clone(), model.clone());
                }
                match value {
                    Some(value) => {
                        trie.insert(*key, *value);
                        model.insert(*key, *value);
                    }
                    None => {
                        trie.remove(key);
                        model.remove(key);
                    }
                }
            }
            for (trie, model) in [(&trie, &model), (&before, &model_before)] {
                prop_assert_eq!(trie.len(), model.len());
                prop_assert_eq!(&trie.iter().copied().collect::<HashMap<_, _>>(), model);
                let sorted: Vec<_> = model.iter().map(|(key, value)| (*key, *value)).collect::<BTreeMap<_, _>>().into_iter().collect();
                prop_assert_eq!(trie.iter().copied().collect::<Vec<_>>(), &sorted[..]);
                for (key, _) in &steps {
                    prop_assert_eq!(trie.get(key), model.get(key));
                    prop_assert_eq!(trie.after(Some(key)), sorted.iter().find(|(other, _)| other > key));
                }
                prop_assert_eq!(trie.after(None), sorted.first());
            }
        }
    }
}

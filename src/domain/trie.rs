//! A persistent map with two fixed levels: the shape behind the directory.
//!
//! A clone costs one `Arc`. A change to a clone copies one branch, one leaf and the root, whatever else the map
//! holds: 2 × 256 reference counts and a leaf of `n / 65,536` entries. A map nobody else shares changes in place,
//! so that loading a snapshot copies nothing. A look-up allocates nothing and takes no lock.

use std::sync::Arc;

const FAN_OUT: usize = 256;

/// A key that knows where it lies: sixteen bits, as evenly spread as can be had.
pub trait Spread: Ord + Copy {
    fn spread(&self) -> [u8; 2];
}

type Leaf<K, V> = Arc<Vec<(K, V)>>;
type Branch<K, V> = Arc<Vec<Option<Leaf<K, V>>>>;

/// See the module's header.
#[derive(Debug)]
pub struct Trie<K, V> {
    root: Arc<Vec<Option<Branch<K, V>>>>,
    len: usize,
}

impl<K, V> Clone for Trie<K, V> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), len: self.len }
    }
}

impl<K, V> Default for Trie<K, V> {
    fn default() -> Self {
        Self { root: Arc::new(vec![None; FAN_OUT]), len: 0 }
    }
}

impl<K: Spread, V: Clone> Trie<K, V> {
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn get(&self, key: &K) -> Option<&V> {
        let [high, low] = key.spread();
        let leaf = self.root[high as usize].as_ref()?[low as usize].as_ref()?;
        let at = leaf.binary_search_by(|(k, _)| k.cmp(key)).ok()?;
        Some(&leaf[at].1)
    }

    pub fn insert(&mut self, key: K, value: V) {
        let leaf = self.leaf_mut(&key);
        match leaf.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => leaf[at].1 = value,
            Err(at) => {
                leaf.insert(at, (key, value));
                self.len += 1;
            }
        }
    }

    /// Takes a key out; a key that is not there leaves everything shared as it was.
    pub fn remove(&mut self, key: &K) {
        if self.get(key).is_none() {
            return;
        }
        let leaf = self.leaf_mut(key);
        if let Ok(at) = leaf.binary_search_by(|(k, _)| k.cmp(key)) {
            leaf.remove(at);
            self.len -= 1;
        }
    }

    /// Every entry, in no promised order.
    pub fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.root.iter().flatten().flat_map(|branch| branch.iter()).flatten().flat_map(|leaf| leaf.iter())
    }

    fn leaf_mut(&mut self, key: &K) -> &mut Vec<(K, V)> {
        let [high, low] = key.spread();
        let root = Arc::make_mut(&mut self.root);
        let branch = root[high as usize].get_or_insert_with(|| Arc::new(vec![None; FAN_OUT]));
        let leaf = Arc::make_mut(branch)[low as usize].get_or_insert_with(Default::default);
        Arc::make_mut(leaf)
    }
}

//! Who is kept out, as one immutable snapshot.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::{Block, BlockTarget};
use crate::time::Timestamp;

/// The blocks, to be found by whom they keep out.
#[derive(Default)]
pub(super) struct Snapshot {
    /// By the length of the prefix, and by the network: as many look-ups as there are lengths.
    networks: BTreeMap<u8, HashMap<IpNet, Arc<Block>>>,
    /// By tenant, then by subject, so that nothing is put together to look it up.
    subjects: HashMap<String, HashMap<String, Arc<Block>>>,
}

impl Snapshot {
    pub(super) fn of(blocks: impl Iterator<Item = Arc<Block>>) -> Self {
        let mut snapshot = Self::default();
        for block in blocks {
            match &block.target {
                BlockTarget::Network(network) => {
                    let net = network.net();
                    snapshot.networks.entry(net.prefix_len()).or_default().insert(net, block);
                }
                BlockTarget::Subject { tenant, subject } => {
                    let subjects = snapshot.subjects.entry(tenant.clone()).or_default();
                    subjects.insert(subject.clone(), Arc::clone(&block));
                }
            }
        }
        snapshot
    }

    pub(super) fn of_address(&self, address: IpAddr, now: Timestamp) -> Option<Arc<Block>> {
        if self.networks.is_empty() {
            return None;
        }
        let address = address.to_canonical();
        let within = |(bits, networks): (&u8, &HashMap<IpNet, Arc<Block>>)| {
            let net = IpNet::new(address, *bits).ok()?.trunc();
            networks.get(&net).filter(|block| now < block.until).cloned()
        };
        self.networks.iter().find_map(within)
    }

    pub(super) fn of_subject(&self, tenant: &str, subject: &str, now: Timestamp) -> Option<Arc<Block>> {
        let known = self.subjects.get(tenant).and_then(|subjects| subjects.get(subject));
        if let Some(block) = known.filter(|block| now < block.until) {
            return Some(Arc::clone(block));
        }
        if self.networks.is_empty() {
            return None;
        }
        // Where callers are counted by address, a subject of IPv6 is the network of 64 bits.
        let address = subject.strip_suffix("/64").unwrap_or(subject).parse().ok()?;
        self.of_address(address, now)
    }

    pub(super) fn list(&self, now: Timestamp) -> Vec<Arc<Block>> {
        let networks = self.networks.values().flat_map(HashMap::values);
        let subjects = self.subjects.values().flat_map(HashMap::values);
        let going = networks.chain(subjects).filter(|block| now < block.until);
        let mut blocks: Vec<Arc<Block>> = going.cloned().collect();
        blocks.sort_by(|one, other| one.target.cmp(&other.target));
        blocks
    }

    pub(super) fn len(&self) -> usize {
        self.networks.values().map(HashMap::len).chain(self.subjects.values().map(HashMap::len)).sum()
    }
}

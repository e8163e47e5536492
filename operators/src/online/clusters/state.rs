//! The state of online clusters as bytes.

use std::collections::BTreeMap;

use super::micro::{MicroCluster, MicroClusters};
use super::{Living, OnlineClusters};
use crate::error::Result;
use crate::online::Clock;
use crate::online::bytes::{Reader, Writer};
use crate::online::clusters::ClusterOptions;

/// Whose state it is.
const NAME: &str = "online clusters";

impl OnlineClusters {
    /// The state. Equal states give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut to = Writer::new(NAME);
        to.option(self.clock, |to, clock| clock.write(to));
        to.u64(self.next_id);
        to.count(self.living.len());
        for (id, living) in &self.living {
            to.u64(*id);
            to.f64(living.weight);
            to.i64(living.first_seen);
            to.i64(living.last_seen);
        }
        to.count(self.micro.dimension);
        to.u64(self.micro.next_id);
        to.count(self.micro.list.len());
        for micro in &self.micro.list {
            to.u64(micro.id);
            to.f64(micro.weight);
            to.flag(micro.is_potential);
            to.option(micro.cluster, Writer::u64);
            to.f32s(&micro.sum);
        }
        to.finish()
    }

    /// The operator with a state that [`Self::to_bytes`] gave.
    ///
    /// # Errors
    /// Options out of range, and [`crate::OperatorError::Data`] for bytes that are damaged or of
    /// another operator or version.
    pub fn from_bytes(options: ClusterOptions, bytes: &[u8]) -> Result<Self> {
        options.check()?;
        let mut from = Reader::new(NAME, bytes)?;
        let clock = from.option(Clock::read)?;
        let next_id = from.u64()?;
        let living = from.list(32, |from| {
            let id = from.u64()?;
            let (weight, first_seen, last_seen) = (from.f64()?, from.i64()?, from.i64()?);
            Ok((id, Living { weight, first_seen, last_seen }))
        })?;
        let living: BTreeMap<u64, Living> = living.into_iter().collect();
        let dimension = from.count(0)?;
        let next_micro = from.u64()?;
        let list = from.list(26, |from| {
            let (id, weight, is_potential) = (from.u64()?, from.f64()?, from.flag()?);
            let cluster = from.option(Reader::u64)?;
            let sum = from.f32s()?;
            if sum.len() != dimension {
                return Err(from.wrong("vectors of different dimensions"));
            }
            Ok(MicroCluster { id, weight, sum, is_potential, cluster })
        })?;
        let known = living.keys().all(|id| *id < next_id);
        if !known || list.iter().any(|micro| micro.id >= next_micro || micro.weight < 0.0) {
            return Err(from.wrong("clusters that can't be"));
        }
        from.finish()?;
        let micro = MicroClusters { list, next_id: next_micro, dimension };
        Ok(Self { options, clock, micro, living, next_id })
    }
}

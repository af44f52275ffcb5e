//! What a worker's VM holds, found in three ways, because none of them tells all.
//!
//! * Its linear memory is a mapping of its own before a reservation of many GiB, and `smaps` tells its size exactly.
//! * V8's heap and code besides it show in what one more worker adds to the process, less what a worker without a filter adds.
//! * What remembering adds is what the process grows by while it fills up.
//!
//! Pages of files do not count: how many of Envoy's own have been read says nothing of the filter.

use anyhow::{Context as _, Result};
use procfs::process::{MMPermissions, MMapPath, MemoryMap};
use serde::{Deserialize, Serialize};

use crate::setup::{Filter, MOST_REMEMBERED, Setup, Stream};
use crate::statistics::Spread;
use crate::subject::{Ground, Subject};
use crate::tokens::Pools;

/// V8 reserves more than this after each linear memory, so that no access needs a check of its bounds.
const RESERVATION: u64 = 4 << 30;
/// The length of the tokens that are remembered.
const TOKEN_BYTES: usize = 2_000;
const MIB: f64 = (1 << 20) as f64;

/// MiB of a worker's VM.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct VmMemory {
    /// All that one more worker adds, before any request.
    pub idle: Spread,
    /// The same and what 10,000 remembered tokens add.
    pub full: Spread,
    /// The linear memory alone, before any request.
    pub idle_linear: f64,
    /// The linear memory alone, with 10,000 remembered tokens.
    pub full_linear: f64,
    /// The length of the tokens.
    pub token_bytes: usize,
}

/// Starts each that often and measures it.
pub async fn measure(ground: &Ground, pools: &mut Pools, starts: usize) -> Result<VmMemory> {
    let of = |filter: Filter, workers| Setup {
        workers,
        token_bytes: TOKEN_BYTES,
        ..Setup::new(filter, Stream::Repeated(MOST_REMEMBERED))
    };
    let pool = &pools.of(&of(Filter::None, 1))?;
    let gate = Setup::hot().filter;
    let (mut idle, mut full, mut idle_linear, mut full_linear) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for start in 0..starts {
        let mut another_worker = [0.0; 2];
        for (at, filter) in [Filter::None, gate.clone()].into_iter().enumerate() {
            let one = Subject::cold(ground, &of(filter.clone(), 1), pool).await?;
            let two = Subject::cold(ground, &of(filter, 2), pool).await?;
            another_worker[at] = anonymous_mib(&two)? - anonymous_mib(&one)?;
        }
        let mut filled = Subject::cold(ground, &of(gate.clone(), 1), pool).await?;
        let (before, linear_before) = (anonymous_mib(&filled)?, linear_mib(&filled)?);
        filled.show_all()?;
        let (grown, linear) = (anonymous_mib(&filled)? - before, linear_mib(&filled)?);
        // It would not be the memory of so many tokens if they were not remembered: a round fails then.
        filled.round(ground, 1).await?;
        let vm = another_worker[1] - another_worker[0];
        idle.push(vm);
        full.push(vm + grown);
        idle_linear.push(linear_before);
        full_linear.push(linear);
        eprintln!("memory: start {} of {starts}, MiB: idle {vm:.1}, filled {:.1}", start + 1, full[start]);
    }
    Ok(VmMemory {
        idle: Spread::of(idle),
        full: Spread::of(full),
        idle_linear: Spread::of(idle_linear).median,
        full_linear: Spread::of(full_linear).median,
        token_bytes: pool.first.len(),
    })
}

/// Memory of the process that no file backs, in MiB.
fn anonymous_mib(subject: &Subject) -> Result<f64> {
    let kib = subject.process()?.status()?.rssanon.context("RssAnon")?;
    Ok(kib as f64 / 1024.0)
}

/// The largest linear memory of the process, in MiB: the worker's, which is the only one that sees requests.
fn linear_mib(subject: &Subject) -> Result<f64> {
    let maps = subject.process()?.smaps()?.0;
    let largest = linear_memories(&maps).max().context("no linear memory among the mappings")?;
    Ok(largest as f64 / MIB)
}

/// The sizes of the mappings that V8 reserved room after.
fn linear_memories(maps: &[MemoryMap]) -> impl Iterator<Item = u64> {
    let size = |map: &MemoryMap| map.address.1 - map.address.0;
    let pairs = maps.iter().zip(maps.iter().skip(1));
    pairs
        .filter(move |(memory, reserved)| {
            let writable = MMPermissions::READ | MMPermissions::WRITE | MMPermissions::PRIVATE;
            memory.perms == writable
                && memory.pathname == MMapPath::Anonymous
                && reserved.perms == MMPermissions::PRIVATE
                && memory.address.1 == reserved.address.0
                && size(reserved) > RESERVATION
        })
        .map(move |(memory, _)| size(memory))
}

#[cfg(test)]
mod tests {
    use procfs::FromRead as _;
    use procfs::process::MemoryMaps;

    use super::*;

    #[test]
    fn a_linear_memory_is_what_stands_before_a_reservation() {
        let smaps = "7f42d7b50000-7f42d7c70000 rw-p 00000000 00:00 0 \n\
                     7f42d7c70000-7f44d7b80000 ---p 00000000 00:00 0 \n\
                     7f44e7b80000-7f4507b40000 rwxp 00000000 00:00 0 \n\
                     7f4509b60000-7f4509c80000 rw-p 00000000 00:00 0 \n\
                     7f4509c80000-7f450a000000 ---p 00000000 00:00 0 \n";
        let maps = MemoryMaps::from_read(smaps.as_bytes()).unwrap().0;
        assert_eq!(linear_memories(&maps).collect::<Vec<_>>(), [0x120000]);
    }
}

//! The machine: which cores do what, what it is, and whether something else is busy on it.
//!
//! It must never guess away a disturbance: what others used is measured and told.

use std::fmt;
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use procfs::{Current as _, CurrentSI as _};
use serde::{Deserialize, Serialize};

/// Cores as `taskset` takes them, such as `0` or `0-1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Cores {
    /// Envoy's.
    pub envoy: String,
    /// Those of the load and of the mock.
    pub load: String,
}

impl Cores {
    /// One core for each worker, and the others for the load. Where nothing remains for the load, it shares.
    pub fn of(workers: usize) -> Self {
        Self::among(workers, *CORES)
    }

    fn among(workers: usize, all: usize) -> Self {
        let range =
            |first: usize, last: usize| if first == last { first.to_string() } else { format!("{first}-{last}") };
        let last = all.saturating_sub(1);
        if workers < all {
            Self { envoy: range(0, workers - 1), load: range(workers, last) }
        } else {
            Self { envoy: range(0, last), load: range(0, last) }
        }
    }
}

/// How many this process was given, before it keeps off one of them.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));

/// A command that runs on these cores only.
pub fn on_cores(cores: &str, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores]).arg(program);
    command
}

/// The same, before everything else on these cores: what measures, or answers what is measured, would tell of its own
/// waiting for the mock and the clients. Where that is not permitted, it says so and runs like them.
pub fn first_on_cores(cores: &str, program: &std::ffi::OsStr) -> Command {
    if !*MAY_BE_FIRST {
        return on_cores(cores, program);
    }
    let mut command = on_cores(cores, "chrt".as_ref());
    command.args(["--fifo", "1"]).arg(program);
    command
}

static MAY_BE_FIRST: LazyLock<bool> = LazyLock::new(|| {
    let tried = Command::new("chrt").args(["--fifo", "1", "true"]).output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        eprintln!("WARNING: no permission for `chrt --fifo`: latencies hold what wrk waits for its core");
    }
    may
});

/// Keeps this process, the mock within it and what it starts off Envoy's core.
pub fn keep_off_the_first_core() -> Result<()> {
    off_the_first_core(0)
}

/// Moves the main thread of an Envoy, which is idle but for a VM of its own, off the core of its worker.
pub fn part_main_thread(process: u32) -> Result<()> {
    off_the_first_core(process)
}

fn off_the_first_core(thread: u32) -> Result<()> {
    let mut set = CpuSet::new();
    for core in 1..*CORES {
        set.set(core)?;
    }
    if *CORES > 1 {
        sched_setaffinity(Pid::from_raw(thread.try_into()?), &set)?;
    }
    Ok(())
}

/// What the figures were measured on.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Machine {
    /// The processor's own name.
    pub processor: String,
    /// How many cores of it this machine has.
    pub cores: usize,
    /// GiB of memory.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processor, cores, memory_gib, kernel } = self;
        write!(formatter, "{processor}, {cores} cores, {memory_gib} GiB, Linux {kernel}")
    }
}

impl Machine {
    /// This one.
    pub fn here() -> Result<Self> {
        let processors = procfs::CpuInfo::current()?;
        let memory = procfs::Meminfo::current()?;
        Ok(Self {
            processor: processors.model_name(0).unwrap_or("unknown").to_owned(),
            cores: *CORES,
            memory_gib: memory.mem_total.div_ceil(1 << 30),
            kernel: procfs::sys::kernel::Version::current().map_or_else(
                |_| "unknown".to_owned(),
                |version| format!("{}.{}.{}", version.major, version.minor, version.patch),
            ),
        })
    }
}

/// CPU time of all threads of a process, user's and system's, to the nanosecond.
pub fn cpu_of(process: u32) -> Result<Duration> {
    let clock: ClockId = clock_getcpuclockid(Pid::from_raw(i32::try_from(process)?))?;
    Ok(clock.now()?.into())
}

/// CPU time of the whole machine and of all that belongs to the benchmark, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    busy: f64,
    stolen: f64,
    all: f64,
    ours: f64,
}

impl Usage {
    /// Up to now. `envoys` is what the running Envoys have used; children that ended and this process are added.
    pub fn now(envoys: f64) -> Result<Self> {
        let total = procfs::KernelStats::current().context("/proc/stat")?.total;
        let second = procfs::ticks_per_second() as f64;
        let stolen = total.steal.unwrap_or_default() as f64 / second;
        let idle = (total.idle + total.iowait.unwrap_or_default()) as f64 / second;
        let busy = (total.user
            + total.nice
            + total.system
            + total.irq.unwrap_or_default()
            + total.softirq.unwrap_or_default()) as f64
            / second;
        let own = |who| -> Result<f64> {
            let usage = getrusage(who)?;
            Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
        };
        let ours = envoys + own(UsageWho::RUSAGE_SELF)? + own(UsageWho::RUSAGE_CHILDREN)?;
        Ok(Self { busy, stolen, all: busy + idle + stolen, ours })
    }

    /// What others used since then, the hypervisor included, as a share of the whole machine.
    pub fn others_since(&self, then: &Self) -> f64 {
        let others = (self.busy - then.busy) - (self.ours - then.ours) + (self.stolen - then.stolen);
        (others / (self.all - then.all).max(f64::EPSILON)).max(0.0)
    }
}

/// The load averages of 1, 5 and 15 minutes, as a text.
pub fn load_average() -> String {
    procfs::LoadAverage::current()
        .map_or_else(|_| "unknown".to_owned(), |load| format!("{:.2} {:.2} {:.2}", load.one, load.five, load.fifteen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_core_as_long_as_one_remains_for_the_load() {
        let cores = |workers, all| {
            let Cores { envoy, load } = Cores::among(workers, all);
            (envoy, load)
        };
        assert_eq!(cores(1, 2), ("0".into(), "1".into()));
        assert_eq!(cores(2, 2), ("0-1".into(), "0-1".into()));
        assert_eq!(cores(2, 4), ("0-1".into(), "2-3".into()));
        assert_eq!(cores(1, 1), ("0".into(), "0".into()));
    }

    #[test]
    fn others_are_what_is_busy_and_neither_ours_nor_idle() {
        let then = Usage { busy: 10.0, stolen: 1.0, all: 100.0, ours: 5.0 };
        let now = Usage { busy: 18.0, stolen: 2.0, all: 120.0, ours: 10.0 };
        assert!((now.others_since(&then) - 0.2).abs() < 1e-9);
    }
}

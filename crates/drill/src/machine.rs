//! What the drill asks of the machine: cores for the server and others for those who ask, descriptors, and figures of
//! the server's process.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Which cores are whose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cores {
    /// The server's.
    pub server: Vec<usize>,
    /// Those of people and attackers.
    pub load: Vec<usize>,
}

impl Cores {
    /// Halves the cores that this process may use; the server has the greater half. With one core both have it.
    ///
    /// # Errors
    /// When the system doesn't say which there are.
    pub fn halved() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        Ok(Self::of((0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect()))
    }

    fn of(mut all: Vec<usize>) -> Self {
        if all.len() < 2 {
            return Self { server: all.clone(), load: all };
        }
        let load = all.split_off(all.len().div_ceil(2));
        Self { server: all, load }
    }

    /// Whether the server has cores that nobody else of the drill uses.
    pub fn apart(&self) -> bool {
        self.server.iter().all(|core| !self.load.contains(core))
    }
}

/// Keeps this thread, and those that it begins, on these cores.
///
/// # Errors
/// When the system refuses.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().filter(|core| **core < CpuSet::MAX_CPU).for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets everybody else go before this thread. (On Linux niceness is a thread's.)
pub(crate) fn give_way() {
    // Who is refused it has it already, or measures a little worse; the report's figures of arrivals would show it.
    let _ = nice(19);
}

/// Lets people's connections go before this thread, but not attackers, however many threads they have.
pub(crate) fn give_way_a_little() {
    let _ = nice(2);
}

/// How long this thread has run, if the system says it.
pub(crate) fn own_cpu_time() -> Option<std::time::Duration> {
    let seconds = thread_cpu_seconds(rustix::thread::gettid().as_raw_nonzero().get())?;
    Some(std::time::Duration::from_secs_f64(seconds))
}

/// The system lets the drill open too few files.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the drill needs {needed} open files at once, the system allows {allowed}: raise the hard limit (`ulimit -Hn \
     {needed}` as root, LimitNOFILE in a service), or attack with less --strength or without slowloris, slow-read and \
     sse-hoarding"
)]
pub struct TooFewDescriptors {
    needed: u64,
    allowed: u64,
}

/// Raises the limit on open files as far as needed.
///
/// # Errors
/// When the system allows fewer.
pub fn raise_descriptors(needed: u64) -> Result<(), TooFewDescriptors> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // None is without limit.
    let has = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if has(current) {
        return Ok(());
    }
    let refused = || TooFewDescriptors { needed, allowed: maximum.or(current).unwrap_or(u64::MAX) };
    if !has(maximum) {
        return Err(refused());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).map_err(|_| refused())
}

/// Figures of a process at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Seconds that its threads have run, those that have ended included.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Open files.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// What /proc says of a process; nothing if it is gone or another user's.
pub fn usage_of(process: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).ok()?.count() as u64;
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    parse_stat(&stat, ticks, rustix::param::page_size() as u64).map(|usage| Usage { descriptors, ..usage })
}

/// Those threads of a process that are there: by number, what each is called and the seconds that it has run.
pub(crate) fn threads_of(process: u32) -> BTreeMap<u32, (String, f64)> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return BTreeMap::new() };
    let of_thread = |folder: &Path| {
        let number = folder.file_name()?.to_str()?.parse().ok()?;
        let name = std::fs::read_to_string(folder.join("comm")).ok()?;
        let seconds = parse_schedstat(&std::fs::read_to_string(folder.join("schedstat")).ok()?)?;
        Some((number, (name.trim_end().to_owned(), seconds)))
    };
    threads.filter_map(Result::ok).filter_map(|thread| of_thread(&thread.path())).collect()
}

/// What the files of a folder hold; nothing if it can't be read.
pub(crate) fn stored_in(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let files = entries.filter_map(|entry| entry.metadata().ok()).filter(std::fs::Metadata::is_file);
    Some(files.map(|file| file.len()).sum())
}

/// The fields of proc(5) after the name, which may hold spaces and parentheses.
fn parse_stat(stat: &str, ticks_per_second: f64, page_bytes: u64) -> Option<Usage> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |place: usize| fields.get(place - 3)?.parse::<u64>().ok();
    Some(Usage {
        cpu_seconds: (number(14)? + number(15)?) as f64 / ticks_per_second,
        resident_bytes: number(24)? * page_bytes,
        descriptors: 0,
        threads: number(20)?,
    })
}

/// Seconds that a thread of this process has run so far.
pub(crate) fn thread_cpu_seconds(thread: i32) -> Option<f64> {
    parse_schedstat(&std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?)
}

/// Its first field is the time on a core, in nanoseconds.
fn parse_schedstat(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse::<f64>().ok().map(|nanos| nanos / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_has_the_greater_half() {
        let check = |all: usize, server: &[usize], load: &[usize]| {
            let cores = Cores::of((0..all).collect());
            assert_eq!((cores.server.as_slice(), cores.load.as_slice()), (server, load));
            assert_eq!(cores.apart(), all > 1);
        };
        check(1, &[0], &[0]);
        check(2, &[0], &[1]);
        check(3, &[0, 1], &[2]);
        check(4, &[0, 1], &[2, 3]);
    }

    #[test]
    fn figures_are_read_whatever_the_process_is_called() {
        let stat =
            "7 (a ) b) S 1 7 7 0 -1 4 9 9 9 9 150 50 0 0 20 0 12 0 99 1000 25 18446744073709551615 1 1";
        let usage = parse_stat(stat, 100.0, 4096).unwrap();
        let expected = Usage { cpu_seconds: 2.0, resident_bytes: 25 * 4096, descriptors: 0, threads: 12 };
        assert_eq!(usage, expected);
        assert_eq!(parse_stat("7 (a) S 1", 100.0, 4096), None);
        let own = usage_of(std::process::id()).unwrap();
        assert!(own.resident_bytes > 0 && own.descriptors > 2 && own.threads >= 1);
    }

    #[test]
    fn threads_are_told_by_their_names() {
        let (sender, end) = std::sync::mpsc::channel::<()>();
        let busy = std::thread::Builder::new().name("whale-1".to_owned()).spawn(move || {
            let own = || thread_cpu_seconds(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            while own() < 0.02 {
                std::hint::spin_loop();
            }
            let _ = end.recv();
        });
        let called = |name: &str| {
            let threads = threads_of(std::process::id()).into_values();
            threads.filter(|(called, _)| called == name).map(|(_, seconds)| seconds).sum::<f64>()
        };
        while called("whale-1") < 0.02 {
            std::thread::yield_now();
        }
        assert!(called("squid") == 0.0);
        drop(sender);
        busy.unwrap().join().unwrap();
    }

    #[test]
    fn files_are_added_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), [0; 100]).unwrap();
        std::fs::write(folder.path().join("b"), [0; 23]).unwrap();
        std::fs::create_dir(folder.path().join("c")).unwrap();
        assert_eq!(stored_in(folder.path()), Some(123));
        assert_eq!(stored_in(&folder.path().join("d")), None);
    }

    #[test]
    fn more_files_than_the_system_allows_are_refused_and_said() {
        raise_descriptors(1).unwrap();
        let hard = getrlimit(Resource::Nofile).maximum;
        if let Some(hard) = hard.filter(|hard| *hard < u64::MAX) {
            let refused = raise_descriptors(hard + 1).unwrap_err().to_string();
            assert!(refused.contains(&format!("needs {} open files", hard + 1)), "{refused}");
            assert!(refused.contains(&format!("allows {hard}")), "{refused}");
        }
    }
}

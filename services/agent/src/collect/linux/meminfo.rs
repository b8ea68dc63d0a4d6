//! `node_memory_*` from `/proc/meminfo`.

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::{Roots, Source};
use super::{Collector, whole};

/// The fields that are shown: as the kernel calls them, and as the metric is called.
const FIELDS: &[(&str, &str)] = &[
    ("Active", "node_memory_Active_bytes"),
    ("Active(anon)", "node_memory_Active_anon_bytes"),
    ("Active(file)", "node_memory_Active_file_bytes"),
    ("AnonHugePages", "node_memory_AnonHugePages_bytes"),
    ("AnonPages", "node_memory_AnonPages_bytes"),
    ("Bounce", "node_memory_Bounce_bytes"),
    ("Buffers", "node_memory_Buffers_bytes"),
    ("Cached", "node_memory_Cached_bytes"),
    ("CmaFree", "node_memory_CmaFree_bytes"),
    ("CmaTotal", "node_memory_CmaTotal_bytes"),
    ("CommitLimit", "node_memory_CommitLimit_bytes"),
    ("Committed_AS", "node_memory_Committed_AS_bytes"),
    ("DirectMap1G", "node_memory_DirectMap1G_bytes"),
    ("DirectMap2M", "node_memory_DirectMap2M_bytes"),
    ("DirectMap4k", "node_memory_DirectMap4k_bytes"),
    ("Dirty", "node_memory_Dirty_bytes"),
    ("HardwareCorrupted", "node_memory_HardwareCorrupted_bytes"),
    ("HugePages_Free", "node_memory_HugePages_Free"),
    ("HugePages_Rsvd", "node_memory_HugePages_Rsvd"),
    ("HugePages_Surp", "node_memory_HugePages_Surp"),
    ("HugePages_Total", "node_memory_HugePages_Total"),
    ("Hugepagesize", "node_memory_Hugepagesize_bytes"),
    ("Inactive", "node_memory_Inactive_bytes"),
    ("Inactive(anon)", "node_memory_Inactive_anon_bytes"),
    ("Inactive(file)", "node_memory_Inactive_file_bytes"),
    ("KernelStack", "node_memory_KernelStack_bytes"),
    ("Mapped", "node_memory_Mapped_bytes"),
    ("MemAvailable", "node_memory_MemAvailable_bytes"),
    ("MemFree", "node_memory_MemFree_bytes"),
    ("MemTotal", "node_memory_MemTotal_bytes"),
    ("Mlocked", "node_memory_Mlocked_bytes"),
    ("NFS_Unstable", "node_memory_NFS_Unstable_bytes"),
    ("PageTables", "node_memory_PageTables_bytes"),
    ("Percpu", "node_memory_Percpu_bytes"),
    ("SReclaimable", "node_memory_SReclaimable_bytes"),
    ("SUnreclaim", "node_memory_SUnreclaim_bytes"),
    ("Shmem", "node_memory_Shmem_bytes"),
    ("ShmemHugePages", "node_memory_ShmemHugePages_bytes"),
    ("ShmemPmdMapped", "node_memory_ShmemPmdMapped_bytes"),
    ("Slab", "node_memory_Slab_bytes"),
    ("SwapCached", "node_memory_SwapCached_bytes"),
    ("SwapFree", "node_memory_SwapFree_bytes"),
    ("SwapTotal", "node_memory_SwapTotal_bytes"),
    ("Unevictable", "node_memory_Unevictable_bytes"),
    ("VmallocChunk", "node_memory_VmallocChunk_bytes"),
    ("VmallocTotal", "node_memory_VmallocTotal_bytes"),
    ("VmallocUsed", "node_memory_VmallocUsed_bytes"),
    ("Writeback", "node_memory_Writeback_bytes"),
    ("WritebackTmp", "node_memory_WritebackTmp_bytes"),
    ("Zswap", "node_memory_Zswap_bytes"),
    ("Zswapped", "node_memory_Zswapped_bytes"),
];

/// The host's memory, as its kernel divides it up.
#[derive(Debug)]
pub(in crate::collect) struct Meminfo {
    file: Source,
}

impl Meminfo {
    /// Reads nothing yet.
    #[must_use]
    pub(in crate::collect) fn new() -> Self {
        Self { file: Source::new("meminfo") }
    }
}

impl Collector for Meminfo {
    fn name(&self) -> &'static str {
        "meminfo"
    }

    fn source(&self) -> &'static str {
        "`/proc/meminfo`"
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        if let Some(text) = self.file.read(&roots.proc, &mut faults) {
            report(text, out, &mut faults);
        }
        faults.into_result()
    }
}

/// The lines of `/proc/meminfo`: a field's name, and its value in bytes (or in pages, where the
/// line has no unit).
pub(in crate::collect) fn fields(text: &str) -> impl Iterator<Item = Result<(&str, f64), CollectError>> {
    text.lines().map(|line| {
        let malformed = || CollectError::malformed("meminfo", line);
        let (name, rest) = line.split_once(':').ok_or_else(malformed)?;
        let mut words = rest.split_ascii_whitespace();
        let value = words.next().and_then(whole).ok_or_else(malformed)?;
        match words.next() {
            None => Ok((name, value)),
            Some("kB") => Ok((name, value * 1024.0)),
            Some(_) => Err(malformed()),
        }
    })
}

fn report(text: &str, out: &mut Batch, faults: &mut Faults) {
    for field in fields(text) {
        let Some((name, value)) = faults.check(field) else { continue };
        if let Some((name, metric)) = FIELDS.iter().find(|(known, _)| *known == name) {
            // The HELP is part of the layout and only looked at when that is built.
            out.gauge(metric, help(name), &[], value);
        }
    }
}

/// What the fields mean that people ask about; the others are for those who know the kernel.
fn help(field: &str) -> &'static str {
    match field {
        "MemTotal" => "Memory that the kernel can use, in bytes.",
        "MemFree" => "Memory that nothing uses, not even a cache, in bytes.",
        "MemAvailable" => {
            "Memory that a new program could have without swapping, in bytes (an estimate of the kernel)."
        }
        "Buffers" => "Memory that caches raw blocks of disks, in bytes.",
        "Cached" => "Memory that caches files, in bytes.",
        "Slab" => "Memory of the kernel's own data structures, in bytes.",
        "SwapTotal" => "Swap space, in bytes.",
        "SwapFree" => "Swap space that is not used, in bytes.",
        _ => "A field of /proc/meminfo.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn kilobytes_become_bytes_and_counts_stay_counts() {
        let text =
            "MemTotal:       24684092 kB\nActive(anon):       1532 kB\nHugePages_Total:       3\nHugetlb: 0 kB\n";
        check(
            |out, faults| report(text, out, faults),
            "node_memory_MemTotal_bytes 25276510208\nnode_memory_Active_anon_bytes 1568768\nnode_memory_HugePages_Total 3\n",
            None,
        );
    }

    #[test]
    fn what_can_be_read_is_reported() {
        let text = "MemTotal: 1 kB\nMemFree 2 kB\nCached: x kB\nDirty: 3 MB\nSlab: 4 kB\nShm";
        check(
            |out, faults| report(text, out, faults),
            "node_memory_MemTotal_bytes 1024\nnode_memory_Slab_bytes 4096\n",
            Some("meminfo: cannot make sense of \"MemFree 2 kB\""),
        );
    }

    #[test]
    fn names_are_those_of_the_fields() {
        for (field, metric) in FIELDS {
            let unit = if field.starts_with("HugePages_") { "" } else { "_bytes" };
            let name = field.replace('(', "_").replace(')', "");
            assert_eq!(*metric, format!("node_memory_{name}{unit}"));
        }
    }
}

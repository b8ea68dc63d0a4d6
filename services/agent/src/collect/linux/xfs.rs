//! `node_xfs_*` from `/sys/fs/xfs/*/stats/stats`, a file for each mounted XFS.
//!
//! A line is a word and numbers in the order of the kernel's `struct xfsstats`. The numbers have 32
//! bits and wrap. Kernels before 4.4 have no such files.

use std::time::Duration;

use super::batch::Batch;
use super::error::{CollectError, Faults};
use super::files::Roots;
use super::sysfs::{devices, text};
use super::{Collector, whole};

/// The lines that are shown, and what the metrics of their numbers are called. Of `rw` the calls
/// that write come first.
const LINES: &[(&str, &[(&str, &str)])] = &[
    (
        "extent_alloc",
        &[
            ("node_xfs_extent_allocation_extents_allocated_total", "Extents allocated."),
            ("node_xfs_extent_allocation_blocks_allocated_total", "Blocks allocated."),
            ("node_xfs_extent_allocation_extents_freed_total", "Extents freed."),
            ("node_xfs_extent_allocation_blocks_freed_total", "Blocks freed."),
        ],
    ),
    (
        "abt",
        &[
            ("node_xfs_allocation_btree_lookups_total", "Lookups in the trees of free space."),
            ("node_xfs_allocation_btree_compares_total", "Comparisons in the trees of free space."),
            ("node_xfs_allocation_btree_records_inserted_total", "Records added to the trees of free space."),
            ("node_xfs_allocation_btree_records_deleted_total", "Records taken from the trees of free space."),
        ],
    ),
    (
        "blk_map",
        &[
            ("node_xfs_block_mapping_reads_total", "Blocks of files looked up to be read."),
            ("node_xfs_block_mapping_writes_total", "Blocks of files looked up to be written."),
            ("node_xfs_block_mapping_unmaps_total", "Blocks taken from files."),
            ("node_xfs_block_mapping_extent_list_insertions_total", "Extents added to lists of extents."),
            ("node_xfs_block_mapping_extent_list_deletions_total", "Extents taken from lists of extents."),
            ("node_xfs_block_mapping_extent_list_lookups_total", "Lookups in lists of extents."),
            ("node_xfs_block_mapping_extent_list_compares_total", "Comparisons in lists of extents."),
        ],
    ),
    (
        "bmbt",
        &[
            ("node_xfs_block_map_btree_lookups_total", "Lookups in the trees of files' blocks."),
            ("node_xfs_block_map_btree_compares_total", "Comparisons in the trees of files' blocks."),
            ("node_xfs_block_map_btree_records_inserted_total", "Records added to the trees of files' blocks."),
            ("node_xfs_block_map_btree_records_deleted_total", "Records taken from the trees of files' blocks."),
        ],
    ),
    (
        "dir",
        &[
            ("node_xfs_directory_operation_lookup_total", "Names looked up in directories, past the kernel's cache."),
            ("node_xfs_directory_operation_create_total", "Names added to directories."),
            ("node_xfs_directory_operation_remove_total", "Names taken from directories."),
            ("node_xfs_directory_operation_getdents_total", "Readings of directories."),
        ],
    ),
    (
        "ig",
        &[
            ("node_xfs_inode_operation_attempts_total", "Inodes looked for in the cache of inodes."),
            ("node_xfs_inode_operation_found_total", "Inodes found in the cache."),
            ("node_xfs_inode_operation_recycled_total", "Inodes found in the cache that were about to be freed."),
            ("node_xfs_inode_operation_missed_total", "Inodes not found in the cache."),
            ("node_xfs_inode_operation_duplicates_total", "Inodes that somebody else read in the meantime."),
            ("node_xfs_inode_operation_reclaims_total", "Inodes taken from the cache to free memory."),
            ("node_xfs_inode_operation_attribute_changes_total", "Changes of inodes' attributes."),
        ],
    ),
    (
        "rw",
        &[
            ("node_xfs_write_calls_total", "Calls that write files."),
            ("node_xfs_read_calls_total", "Calls that read files."),
        ],
    ),
    (
        "vnodes",
        &[
            ("node_xfs_vnode_active_total", "Inodes in memory that are in use."),
            ("node_xfs_vnode_allocate_total", "Inodes allocated in memory."),
            ("node_xfs_vnode_get_total", "Inodes in memory asked for."),
            ("node_xfs_vnode_hold_total", "Inodes in memory held on to."),
            ("node_xfs_vnode_release_total", "Inodes in memory let go."),
            ("node_xfs_vnode_reclaim_total", "Inodes in memory reclaimed."),
            ("node_xfs_vnode_remove_total", "Inodes in memory freed."),
        ],
    ),
];
/// Most file systems that are shown.
const DEVICES_MAX: usize = 256;

/// The XFS file systems of the host.
#[derive(Debug)]
pub(super) struct Xfs;

impl Collector for Xfs {
    fn name(&self) -> &'static str {
        "xfs"
    }

    fn source(&self) -> &'static str {
        "`/sys/fs/xfs/*/stats/stats`"
    }

    fn every(&self) -> Option<Duration> {
        Some(Duration::from_secs(15))
    }

    fn read(&mut self, roots: &Roots, out: &mut Batch) -> Result<(), CollectError> {
        let mut faults = Faults::default();
        let base = roots.sys.join("fs/xfs");
        // Beside the devices there is `stats`, of all of them together, and no `stats` in that.
        for device in devices(&base, "XFS file systems", DEVICES_MAX, |_| true, &mut faults) {
            if let Some(stats) = text(&base.join(&device).join("stats/stats"), &mut faults) {
                report(&device, &stats, out, &mut faults);
            }
        }
        faults.into_result()
    }
}

fn report(device: &str, stats: &str, out: &mut Batch, faults: &mut Faults) {
    if stats.is_empty() {
        faults.note(CollectError::malformed("fs/xfs/*/stats/stats", ""));
    }
    for line in stats.lines() {
        let mut words = line.split_ascii_whitespace();
        let key = words.next().unwrap_or_default();
        let Some((_, metrics)) = LINES.iter().find(|(known, _)| *known == key) else { continue };
        for (name, help) in *metrics {
            let Some(value) = words.next().and_then(whole) else {
                faults.note(CollectError::malformed("fs/xfs/*/stats/stats", line));
                break;
            };
            out.counter(name, help, &[("device", device)], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::testing::check;

    #[test]
    fn numbers_have_their_names() {
        let text = "extent_alloc 1 2 3 4\nrw 5 6\nattr 7 8 9 10\nig 11 12 x\nvnodes 4294967295 0";
        check(
            |out, faults| report("dm-0", text, out, faults),
            "node_xfs_extent_allocation_extents_allocated_total{device=\"dm-0\"} 1\n\
             node_xfs_extent_allocation_blocks_allocated_total{device=\"dm-0\"} 2\n\
             node_xfs_extent_allocation_extents_freed_total{device=\"dm-0\"} 3\n\
             node_xfs_extent_allocation_blocks_freed_total{device=\"dm-0\"} 4\n\
             node_xfs_write_calls_total{device=\"dm-0\"} 5\n\
             node_xfs_read_calls_total{device=\"dm-0\"} 6\n\
             node_xfs_inode_operation_attempts_total{device=\"dm-0\"} 11\n\
             node_xfs_inode_operation_found_total{device=\"dm-0\"} 12\n\
             node_xfs_vnode_active_total{device=\"dm-0\"} 4294967295\n\
             node_xfs_vnode_allocate_total{device=\"dm-0\"} 0\n",
            Some("\"ig 11 12 x\""),
        );
    }
}

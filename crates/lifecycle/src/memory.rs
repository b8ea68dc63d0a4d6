//! Memory: how much this process takes, and how much its container may take.

/// Memory of this process that is in RAM, in bytes; `None` where the system does not say.
#[must_use]
pub fn resident() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        resident_pages(&statm)?.checked_mul(rustix::param::page_size() as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// What the control groups of this process leave it, in bytes; `None`: they set no limit.
#[must_use]
pub fn allowed() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let limits = limit_files(&groups).into_iter().filter_map(|file| std::fs::read_to_string(file).ok());
        limits.filter_map(|text| limit(&text)).min()
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The second field of `statm`.
#[cfg(target_os = "linux")]
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The files that may hold a limit: those of the process's own group and of all above it. In a
/// container the group is often the root of what it sees.
#[cfg(target_os = "linux")]
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (base, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            listed if listed.split(',').any(|one| one == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        // As many as the path has parts; a path that leads out of what is seen has none of its own.
        let mut path = if group.split('/').any(|part| part == "..") { "" } else { group.trim_end_matches('/') };
        files.push(format!("{base}{path}/{file}"));
        while let Some((above, _)) = path.rsplit_once('/') {
            path = above;
            files.push(format!("{base}{path}/{file}"));
        }
    }
    files
}

/// `max`, or a number so large that it means the same, is no limit.
#[cfg(target_os = "linux")]
fn limit(text: &str) -> Option<u64> {
    const ENDLESS: u64 = 1 << 60;
    text.trim().parse().ok().filter(|bytes| *bytes < ENDLESS)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_takes_some_memory() {
        assert_eq!(resident_pages("1234 56 7 8 0 9 0\n"), Some(56));
        assert!(resident().unwrap() > 100_000);
    }

    #[test]
    fn limits_are_looked_for_in_all_groups_above() {
        let v2 = ["/sys/fs/cgroup/a/b.slice/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"];
        assert_eq!(limit_files("0::/a/b.slice\n"), v2);
        assert_eq!(limit_files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(limit_files("0::/../outside\n"), ["/sys/fs/cgroup/memory.max"]);
        let v1 = ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
        assert_eq!(limit_files("3:cpu,cpuacct:/x\n2:memory:/x\n"), v1);
        assert_eq!(["max\n", "1048576\n", "9223372036854771712\n", ""].map(limit), [None, Some(1 << 20), None, None]);
    }
}

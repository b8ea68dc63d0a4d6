//! Every setting that any binary knows. `docs/settings.md` is held against this table by a test.

/// One setting.
#[derive(Debug)]
pub struct Known {
    /// The environment variable.
    pub name: &'static str,
    /// What holds when it is not set; empty: nothing, or something found out at run time.
    pub default: &'static str,
    /// Who uses it: `agent`, `aggregator`, `cli`, or several; `–` nobody yet.
    pub used_by: &'static str,
    /// Its value is never printed: not in errors, not for debugging.
    pub secret: bool,
    /// What it means, for docs/settings.md.
    pub meaning: &'static str,
}

const fn known(name: &'static str, default: &'static str, used_by: &'static str, meaning: &'static str) -> Known {
    Known { name, default, used_by, secret: false, meaning }
}

const fn secret(name: &'static str, used_by: &'static str, meaning: &'static str) -> Known {
    Known { name, default: "", used_by, secret: true, meaning }
}

/// All of them, agent's first.
pub const TABLE: &[Known] = &[
    known(
        "FLEETGAUGE_AGGREGATOR",
        "127.0.0.1:9401",
        "agent",
        "where to push: `host:port`, or several with commas between them (fail over in this order); names are resolved anew at each attempt",
    ),
    known(
        "FLEETGAUGE_AGENT",
        "",
        "agent",
        "this agent's name, which becomes `instance`; default: the process's own host name",
    ),
    known("FLEETGAUGE_INTERVAL", "5s", "agent", "time between two measurements, 100ms to 10m"),
    known("FLEETGAUGE_LABELS", "", "agent", "labels for all of this agent's series, e.g. `zone=a,rack=7`"),
    known(
        "FLEETGAUGE_EPHEMERAL",
        "false",
        "agent",
        "`true`: leave nothing behind after a clean stop, so that scaling down alerts nobody",
    ),
    known(
        "FLEETGAUGE_HOST_ROOT",
        "",
        "agent",
        "where the host's `/` is mounted in a container, e.g. `/host` (Linux only); default: the agent runs on the host itself",
    ),
    known("FLEETGAUGE_HOST_PROC", "", "agent", "where the host's `/proc` is, if not below its `/`"),
    known("FLEETGAUGE_HOST_SYS", "", "agent", "where the host's `/sys` is, if not below its `/`"),
    known(
        "FLEETGAUGE_COLLECTORS",
        "",
        "agent",
        "collectors to switch on or, with `-` before the name, off; `all` is every one; the last word counts: `interrupts,-hwmon`, `-all,cpu,meminfo`",
    ),
    known(
        "FLEETGAUGE_COLLECTOR_INTERVALS",
        "",
        "agent",
        "collectors to read more rarely or more often than by default, 1s to 24h, never more often than the pushes: `processes=1m,hwmon=30s`",
    ),
    known("FLEETGAUGE_DISKSTATS_DEVICE_INCLUDE", "", "agent", "expression: only these disks of `diskstats` are shown"),
    known(
        "FLEETGAUGE_DISKSTATS_DEVICE_EXCLUDE",
        r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
        "agent",
        "expression: these disks of `diskstats` are not shown",
    ),
    known(
        "FLEETGAUGE_FILESYSTEM_MOUNT_POINTS_INCLUDE",
        "",
        "agent",
        "expression: only these mount points of `filesystem` and of `host_filesystem_*` are shown",
    ),
    known(
        "FLEETGAUGE_FILESYSTEM_MOUNT_POINTS_EXCLUDE",
        r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
        "agent",
        "expression: these mount points of `filesystem` and of `host_filesystem_*` are not shown",
    ),
    known(
        "FLEETGAUGE_FILESYSTEM_FS_TYPES_INCLUDE",
        "",
        "agent",
        "expression: only these kinds of file systems of the same are shown",
    ),
    known(
        "FLEETGAUGE_FILESYSTEM_FS_TYPES_EXCLUDE",
        r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs)$",
        "agent",
        "expression: these kinds of file systems of the same are not shown",
    ),
    known(
        "FLEETGAUGE_NETDEV_DEVICE_INCLUDE",
        "",
        "agent",
        "expression: only these network devices of `netdev` and of `host_network_*` are shown",
    ),
    known(
        "FLEETGAUGE_NETDEV_DEVICE_EXCLUDE",
        r"^(veth.*|[a-f0-9]{15})$",
        "agent",
        "expression: these network devices of `netdev` and of `host_network_*` are not shown",
    ),
    known(
        "FLEETGAUGE_NETCLASS_DEVICE_INCLUDE",
        "",
        "agent",
        "expression: only these network devices of `netclass` are shown",
    ),
    known(
        "FLEETGAUGE_NETCLASS_DEVICE_EXCLUDE",
        r"^(veth.*|[a-f0-9]{15})$",
        "agent",
        "expression: these network devices of `netclass` are not shown",
    ),
    known("FLEETGAUGE_ARP_DEVICE_INCLUDE", "", "agent", "expression: only these network devices of `arp` are shown"),
    known(
        "FLEETGAUGE_ARP_DEVICE_EXCLUDE",
        r"^(veth.*|[a-f0-9]{15})$",
        "agent",
        "expression: these network devices of `arp` are not shown",
    ),
    known("FLEETGAUGE_HWMON_CHIP_INCLUDE", "", "agent", "expression: only these chips of `hwmon` are shown"),
    known("FLEETGAUGE_HWMON_CHIP_EXCLUDE", r"", "agent", "expression: these chips of `hwmon` are not shown"),
    known(
        "FLEETGAUGE_INTERRUPTS_NAME_INCLUDE",
        "",
        "agent",
        "expression: only these interrupts of `interrupts`, by number, kind or devices, are shown",
    ),
    known(
        "FLEETGAUGE_INTERRUPTS_NAME_EXCLUDE",
        r"",
        "agent",
        "expression: these interrupts of `interrupts`, by number, kind or devices, are not shown",
    ),
    known("FLEETGAUGE_SYSTEMD_UNIT_INCLUDE", "", "agent", "expression: only these units of `systemd` are shown"),
    known(
        "FLEETGAUGE_SYSTEMD_UNIT_EXCLUDE",
        r".+\.(automount|device|mount|scope|slice)",
        "agent",
        "expression: these units of `systemd` are not shown",
    ),
    known(
        "FLEETGAUGE_NETSTAT_FIELDS",
        r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$",
        "agent",
        "expression: fields of `netstat` that are shown",
    ),
    known(
        "FLEETGAUGE_VMSTAT_FIELDS",
        r"^(oom_kill|pgpg|pswp|pg.*fault).*",
        "agent",
        "expression: fields of `vmstat` that are shown",
    ),
    known(
        "FLEETGAUGE_TEXTFILE_DIRECTORY",
        "",
        "agent",
        "directories, with commas between, whose `*.prom` files are sent too; paths as the agent sees them",
    ),
    known(
        "FLEETGAUGE_TEXTFILE_AGE_MAX",
        "0s",
        "agent",
        "a text file that was not written for longer is no longer sent; `0s`: sent however old it is, so that what was written once stays",
    ),
    known(
        "FLEETGAUGE_HEARTBEAT_FILE",
        "",
        "agent",
        "file that is written at each acknowledged push, for `agent health`; default: none; `/run/fleetgauge/heartbeat` in the image",
    ),
    known(
        "FLEETGAUGE_SPOOL_DIR",
        "",
        "agent",
        "directory where pushes that cannot be sent outlive the agent and the host; created if missing, one agent's alone; default: none, they wait in memory; under `fleetgauge up` each agent has a directory of its name in it",
    ),
    known(
        "FLEETGAUGE_SPOOL_DISK",
        "64MiB",
        "agent",
        "most bytes that wait in that directory, 256KiB to 64GiB; beyond it the oldest are dropped and counted",
    ),
    known(
        "FLEETGAUGE_SPOOL_MEMORY",
        "16MiB",
        "agent",
        "most bytes that wait in memory: all without a directory, else what the disk has not taken yet",
    ),
    known(
        "FLEETGAUGE_HTTP_LISTEN",
        "0.0.0.0:9400",
        "aggregator",
        "address of `/metrics` and the HTTP API; under `fleetgauge up` the default is 127.0.0.1:9400",
    ),
    known(
        "FLEETGAUGE_LINK_LISTEN",
        "0.0.0.0:9401",
        "aggregator",
        "address where agents push; under `fleetgauge up` the default is 127.0.0.1:9401",
    ),
    known(
        "FLEETGAUGE_LINE_LISTEN",
        "0.0.0.0:8888",
        "aggregator",
        "address of put/get; under `fleetgauge up` the default is 127.0.0.1:8888",
    ),
    known(
        "FLEETGAUGE_NAME",
        "",
        "aggregator",
        "this aggregator's name, the `aggregator` label; keep it stable over restarts; default: host name",
    ),
    known("FLEETGAUGE_JOB", "node", "aggregator", "`job` label of agents' series"),
    known(
        "FLEETGAUGE_DATA_DIR",
        "",
        "aggregator",
        "directory for what must survive a restart; created if missing; default: none, nothing is kept, and every put and get is answered with an error; `/var/lib/fleetgauge` in the image; under `fleetgauge up` the user's state directory",
    ),
    known("FLEETGAUGE_TOMBSTONE", "1h", "aggregator", "how long `fleetgauge_agent_up 0` stays after an agent is gone"),
    known(
        "FLEETGAUGE_LIMITS",
        "enforce",
        "aggregator",
        "limits of single senders: `enforce`; `count`: who goes over one is counted and shown (`fleetgauge_limit_exceeded_total`, `fleetgauge explain`), and nothing else happens",
    ),
    known("FLEETGAUGE_MAX_CONNECTIONS", "16384", "aggregator", "most connections on the link; one more is refused"),
    known(
        "FLEETGAUGE_MAX_CONNECTIONS_PER_ADDRESS",
        "8192",
        "aggregator",
        "most connections from one address (of IPv6: from one /64), on the link and on put/get each; one more is refused. Agents behind one NAT or load balancer share an address",
    ),
    known(
        "FLEETGAUGE_MAX_HANDSHAKES",
        "1024",
        "aggregator",
        "most connections on the link that have not said a whole `hello`, with TLS from their first byte on; from one address (of IPv6: from one /64) a quarter of them; at most a quarter of all connections. One that has been silent longest makes room, sooner for a newcomer that speaks at once, or the newcomer is told when to come back",
    ),
    known(
        "FLEETGAUGE_MAX_WELCOMES",
        "1000",
        "aggregator",
        "most agents let in each second, twice as many at one moment; from one address (of IPv6: from one /64) a quarter of them, as many as it says at one moment; others are told when to come back",
    ),
    known(
        "FLEETGAUGE_MAX_BYTES_PER_SECOND",
        "8MiB",
        "aggregator",
        "what an agent may send each second in the long run, four seconds' worth at one moment, 64KiB or more; beyond it its socket is read more slowly, and after 30 s of that it is refused",
    ),
    known(
        "FLEETGAUGE_MAX_LINE",
        "64KiB",
        "aggregator",
        "longest line on the link, 4KiB to 64KiB; agents cut their frames to it",
    ),
    known("FLEETGAUGE_MAX_LABELS", "32", "aggregator", "most labels of a series, 1 to 32; one more is refused"),
    known(
        "FLEETGAUGE_MAX_LABEL_VALUE",
        "1KiB",
        "aggregator",
        "longest value of a label, 1B to 1KiB; a longer one is refused",
    ),
    known(
        "FLEETGAUGE_MEMORY_LIMIT",
        "",
        "aggregator",
        "memory of the aggregator, 64MiB or more, or `none`: from 80 % of it on nobody new is let in, from 95 % on the newest agents are sent away; default: the limit of its container or control group, where there is one",
    ),
    known(
        "FLEETGAUGE_MAX_LINE_CONNECTIONS",
        "10000",
        "aggregator",
        "most connections of put/get; one more is answered with an error and closed",
    ),
    known(
        "FLEETGAUGE_MAX_AGENTS",
        "20000",
        "aggregator",
        "most agent names remembered, tombstones included; beyond it the oldest tombstone gives way to a new agent's first push, and while that many are connected a new name is refused",
    ),
    known(
        "FLEETGAUGE_MAX_SERIES",
        "5000000",
        "aggregator",
        "most series of all agents together; a declaration beyond it is refused",
    ),
    known(
        "FLEETGAUGE_MAX_SERIES_PER_AGENT",
        "100000",
        "aggregator",
        "most series of one agent, with names and labels of 256 bytes each and at least 1 MiB together; agents leave out what goes beyond it, a declaration beyond it is refused",
    ),
    known(
        "FLEETGAUGE_MAX_DECLARED",
        "1GiB",
        "aggregator",
        "most memory for declared names and labels of all agents together; a declaration beyond it is refused",
    ),
    known(
        "FLEETGAUGE_MAX_SCRAPES",
        "4",
        "aggregator",
        "most pages rendered at the same time; one more is answered 503",
    ),
    known(
        "FLEETGAUGE_EXACT",
        "false",
        "aggregator",
        "`true`: exact mode, `/metrics` shows when each value was measured unless asked with `timestamps=0`; every Prometheus that scrapes it must then have `track_timestamps_staleness: true`",
    ),
    known(
        "FLEETGAUGE_REMOTE_WRITE_URL",
        "",
        "aggregator",
        "where late samples are written by Prometheus remote write 1.0, e.g. `http://prometheus:9090/api/v1/write`; default: nowhere",
    ),
    known(
        "FLEETGAUGE_REMOTE_WRITE",
        "late",
        "aggregator",
        "`late`: what no scrape could see is written; `all`: every sample, and where series end, for receivers that scrape nothing here",
    ),
    known(
        "FLEETGAUGE_REMOTE_WRITE_WINDOW",
        "30m",
        "aggregator",
        "how old a sample may be that is written remotely, 10s to 30d; the receiver must take it out of order (Prometheus: `out_of_order_time_window`)",
    ),
    known(
        "FLEETGAUGE_REMOTE_WRITE_TOKEN_FILE",
        "",
        "aggregator",
        "file with the token that remote write sends as `Authorization: Bearer`; read at each request",
    ),
    known(
        "FLEETGAUGE_REMOTE_WRITE_BUFFER",
        "128MiB",
        "aggregator",
        "room for samples that wait for their remote write, their names and labels included, of which one agent has an eighth at most; late pushes that find none wait, what came live is dropped and counted as `no_room`",
    ),
    known(
        "FLEETGAUGE_RECEIVE_BUFFER",
        "64MiB",
        "aggregator",
        "room for lines that are not whole yet, all agents and clients of put/get together, these at most half of it",
    ),
    known(
        "FLEETGAUGE_DURABILITY",
        "sync",
        "aggregator",
        "`sync`: a point is on the disk before `ok`; `os`: it is handed to the operating system, and a power failure may cost what was acknowledged in the seconds before it",
    ),
    known(
        "FLEETGAUGE_RETENTION",
        "30d",
        "aggregator",
        "how long points are kept, counted from when they were last written or from their own timestamp, whichever is later, 1h to 3650d; they may stay a tenth of it longer, at most a day",
    ),
    known(
        "FLEETGAUGE_RECORD_VITALS",
        "on",
        "aggregator",
        "`on`: agents' vital signs go to the history at every push; `off`: they do not",
    ),
    known(
        "FLEETGAUGE_PUT_EXPIRY",
        "5m",
        "aggregator",
        "how long the newest value of a put key stays on the page as `fleetgauge_put` after the last put",
    ),
    known(
        "FLEETGAUGE_MAX_KEYS",
        "1000000",
        "aggregator",
        "most keys of the history, of some 85 bytes each on average: longer ones take the room of several",
    ),
    known(
        "FLEETGAUGE_MAX_PUT_SERIES",
        "10000",
        "aggregator",
        "most put keys on the page; `fleetgauge_put_series_hidden` counts the others",
    ),
    known(
        "FLEETGAUGE_DISK_RESERVE",
        "256MiB",
        "aggregator",
        "room that the history leaves on its disk: with less it refuses points until there is more",
    ),
    known(
        "FLEETGAUGE_HTTP",
        "http://127.0.0.1:9400",
        "cli",
        "where the command line asks for agents; with TLS it begins with `https://`, which is the default with `FLEETGAUGE_TLS=on`; the option `--http` goes before it",
    ),
    known(
        "FLEETGAUGE_SERVER",
        "127.0.0.1:8888",
        "cli",
        "where the command line puts and gets: `host:port`; the option `--server` goes before it",
    ),
    known(
        "FLEETGAUGE_LOG",
        "info",
        "agent, aggregator, cli",
        "what is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,aggregator::link=debug`",
    ),
    known("FLEETGAUGE_LOG_FORMAT", "text", "agent, aggregator, cli", "`text` or `json`"),
    secret(
        "FLEETGAUGE_TOKEN",
        "agent, aggregator, cli",
        "token: what agents and the command line show, and what an aggregator without `FLEETGAUGE_TOKENS_FILE` wants to see, with all scopes; 1 to 512 visible ASCII characters; who may read the process's environment reads it, so a file is better",
    ),
    known(
        "FLEETGAUGE_TOKEN_FILE",
        "",
        "agent, aggregator, cli",
        "file whose first line is that token; read again when it changes",
    ),
    known(
        "FLEETGAUGE_TOKENS_FILE",
        "",
        "aggregator",
        "file of tokens with scopes and agent names (docs/operations.md), read again when it changes; `FLEETGAUGE_TOKEN` and `FLEETGAUGE_TOKEN_FILE` then open nothing here",
    ),
    known(
        "FLEETGAUGE_TLS_CERT_FILE",
        "",
        "aggregator",
        "PEM file with the certificate, and those between it and its CA: the link, HTTP and put/get then speak TLS only; read again when it changes",
    ),
    known("FLEETGAUGE_TLS_KEY_FILE", "", "aggregator", "PEM file with its private key; read again when it changes"),
    known(
        "FLEETGAUGE_TLS_CLIENT_CA_FILE",
        "",
        "aggregator",
        "PEM file with CAs: the link and put/get then want a client certificate of one of them, and HTTP too, but for `/healthz` and `/readyz`; read again when it changes",
    ),
    known(
        "FLEETGAUGE_TLS",
        "off",
        "agent, cli",
        "`on`: speak TLS to the aggregator, and to no one who cannot; `off`: plain TCP",
    ),
    known(
        "FLEETGAUGE_TLS_CA_FILE",
        "",
        "agent, cli",
        "PEM file with the CAs that the aggregator's certificate may come from; default: those of the system",
    ),
    known(
        "FLEETGAUGE_TLS_SERVER_NAME",
        "",
        "agent, cli",
        "name or IP address that the aggregator's certificate must have; default: the host that is connected to",
    ),
    known(
        "FLEETGAUGE_TLS_CLIENT_CERT_FILE",
        "",
        "agent, cli",
        "PEM file with the client certificate to show, where the aggregator wants one",
    ),
    known("FLEETGAUGE_TLS_CLIENT_KEY_FILE", "", "agent, cli", "PEM file with its private key"),
];

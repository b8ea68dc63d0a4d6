use super::*;
use crate::collect::testing::render;

fn page(telemetry: &Telemetry) -> String {
    let mut batch = Batch::new();
    batch.begin();
    telemetry.report(&mut batch);
    batch.finish(true);
    assert_eq!(batch.layout().complaint(), None);
    render(&batch, false)
}

#[test]
fn what_may_be_counted_one_day_is_zero_from_the_start() {
    let telemetry = Telemetry::new();
    let page = page(&telemetry);
    for reason in ["not_sent", "not_acked", "stale", "stopped"] {
        assert!(page.contains(&format!("fleetgauge_push_spooled_total{{reason=\"{reason}\"}} 0\n")), "{reason}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_limit_of_the_address_space_is_the_kernels() {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space")).unwrap();
    let expected = match line.split_whitespace().next().unwrap() {
        "unlimited" => 18_446_744_073_709_551_615.0,
        bytes => bytes.parse::<f64>().unwrap(),
    };
    let page = page(&Telemetry::new());
    let value = page.lines().find_map(|line| line.strip_prefix("process_virtual_memory_max_bytes ")).unwrap();
    assert_eq!(value.parse::<f64>().unwrap(), expected);
}

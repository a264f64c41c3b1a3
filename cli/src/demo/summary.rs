//! The figures at the end of the demo, and one jail as the kernel shows it.

use super::Outcome;
use std::time::{Duration, Instant};
use strait_bench::{Prefix, Row};
use strait_broker::{Host, World};
use strait_jail::Report;

const SPAWNS: usize = 20;
const LONG: Duration = Duration::from_secs(60);

pub fn show(host: &mut Host, prefix: Prefix) -> Outcome<()> {
    println!("\nFigures of this machine, now:");
    let spawn = spawn_time(host)?;
    println!("  spawn of a jailed program, all layers   {:>10.0} us (median of {SPAWNS})", spawn.as_secs_f64() * 1e6);
    let rows = strait_bench::brief(prefix)?;
    println!("  {:<38} {:>14} {:>20}", "", "strait", "plain Unix socket");
    for (workload, size, metric, unit) in [
        ("rtt", 64, "p50_us", "us"),
        ("rtt", 64, "p99_us", "us"),
        ("oneway", 64, "msgs_per_s", "messages/s"),
        ("oneway", 16 * 1024, "bytes_per_s", "bytes/s"),
    ] {
        let (ours, theirs) =
            (find(&rows, "strait", workload, size, metric)?, find(&rows, "uds-seqpacket", workload, size, metric)?);
        println!("  {:<38} {ours:>14.1} {theirs:>20.1}  {unit}", format!("{workload} of {size} bytes, {metric}"));
    }
    jail(host)
}

fn find(rows: &[Row], peer: &str, workload: &str, size: usize, metric: &str) -> Outcome<f64> {
    let row = rows
        .iter()
        .find(|row| row.peer == peer && row.workload == workload && row.size == size && row.metric == metric);
    Ok(row.ok_or("a figure is missing")?.value)
}

fn spawn_time(host: &mut Host) -> Outcome<Duration> {
    let mut times = Vec::new();
    for n in 0..SPAWNS {
        let start = Instant::now();
        let id = host.spawn(&format!("spawn-{n}"), &World::new(["true"]))?;
        times.push(start.elapsed());
        host.client().wait(id, Some(LONG))?;
    }
    times.sort_unstable();
    Ok(times[SPAWNS / 2])
}

fn jail(host: &mut Host) -> Outcome<()> {
    let report: Report = serde_json::from_str(&host.client().inspect("victim")?)?;
    let caps = &report.capabilities;
    let namespaces: Vec<&str> =
        report.namespaces.iter().filter(|(_, own)| *own).map(|(name, _)| name.as_str()).collect();
    println!("\nThe jail of one world, read back from the kernel:");
    println!("  kernel uid       {}", report.uids.first().ok_or("a report without a uid")?);
    println!("  namespaces       {} of its own", namespaces.join(" "));
    println!(
        "  capabilities     effective {:x}, permitted {:x}, bounding {:x}",
        caps.effective, caps.permitted, caps.bounding
    );
    println!("  no_new_privs     {}", report.no_new_privs);
    println!("  seccomp          mode {}, {} filters", report.seccomp, report.seccomp_filters);
    println!("  landlock         {}", report.attested.landlock);
    println!("  mounts           {}", report.mounts.iter().map(|m| m.target.as_str()).collect::<Vec<_>>().join(" "));
    println!(
        "  descriptors      {}",
        report.descriptors.iter().map(|(n, _)| n.to_string()).collect::<Vec<_>>().join(" ")
    );
    for missing in &report.missing {
        println!("  missing          {missing}");
    }
    let holds = caps.effective == 0
        && caps.bounding == 0
        && report.no_new_privs
        && report.seccomp == 2
        && namespaces.len() == 7;
    if holds { Ok(()) } else { Err("the jail isn't what it should be".into()) }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! Finds what is wrong in a kernel log: records of severity warning or worse, and reports that
//! Linux prints at lower ones.

/// Reports, by their first line; lockdep prints some of them at severity warning, some not.
const REPORTS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "INFO: possible",
    "INFO: task",
    "INFO: rcu",
    "INFO: trying to register non-static key",
    "Oops",
    "general protection fault",
    "Kernel panic",
    "lockdep:",
    "suspicious RCU usage",
    "possible recursive locking",
    "circular locking",
    "inconsistent lock state",
    "scheduling while atomic",
    "sleeping function called",
    "soft lockup",
    "hard LOCKUP",
    "Call Trace:",
    "refcount_t:",
];

/// Warnings that every boot of this machine prints, each with its reason.
const EXPECTED: &[(&str, &str)] = &[
    ("tsc: Unable to calibrate against PIT", "TCG's timers are too coarse for it"),
    ("tsc: PIT calibration deviates from HPET", "and for this"),
    ("sched: DL replenish lagged too much", "the host kept a virtual CPU from running"),
    ("mtrr: your CPUs had inconsistent", "QEMU resets the MTRRs of CPU 0 only"),
    ("pci_bus 0000:00: Unknown NUMA node", "QEMU's host bridge belongs to no node"),
    ("loading out-of-tree module taints kernel", "hermit.ko is out of tree"),
    ("APIC calibration not consistent with PM-Timer", "TCG on a busy host: Linux measures it twice"),
    ("APIC timer disabled due to verification failure", "TCG on a busy host: the timer runs too slow"),
    ("not functional", "what Linux says of that timer later"),
    ("Lock dependency validator: Copyright", "lockdep introduces itself at boot"),
    ("... MAX_LOCK", "its table"),
    ("... CLASSHASH_SIZE", "its table"),
    ("... CHAINHASH_SIZE", "its table"),
    (" memory used ", "its memory"),
    (" per task-struct memory footprint", "its memory"),
    ("hrtimer: interrupt took", "TCG on a busy host"),
    ("Could not switch to high resolution mode", "and of its clock events"),
];

/// The lines of `log` that must not be there, in the format of /dev/kmsg or of a console.
/// `allowed` are parts of lines that the caller expects.
pub fn find(log: &str, allowed: &[String]) -> Vec<String> {
    let lines = log.lines().filter_map(|line| {
        let (severity, text) = record(line)?;
        let report = REPORTS.iter().any(|report| text.contains(report));
        let wrong = report || severity.is_some_and(|severity| severity <= 4);
        let expected = EXPECTED.iter().any(|(part, _)| text.contains(part))
            || allowed.iter().any(|part| text.contains(part.as_str()));
        (wrong && !expected).then(|| text.to_string())
    });
    lines.collect()
}

/// Severity, where the line tells it, and text. `None` for the continuation lines of /dev/kmsg.
fn record(line: &str) -> Option<(Option<u8>, &str)> {
    if line.starts_with(' ') {
        return None;
    }
    let kmsg = line.split_once(';').and_then(|(head, text)| {
        let priority: u32 = head.split(',').next()?.parse().ok()?;
        (head.split(',').count() >= 4).then_some((priority, text))
    });
    match kmsg {
        // The facility is above the severity's three bits; only the kernel's (0) counts.
        Some((priority, text)) if priority < 8 => Some((Some(priority as u8), text)),
        Some(_) => None,
        None => Some((None, line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severity_decides() {
        let log = "6,1,10,-;fine\n4,2,20,-;careful\n3,3,30,-;bad\n SUBSYSTEM=acpi\n12,4,1,-;user's";
        assert_eq!(find(log, &[]), ["careful", "bad"]);
    }

    #[test]
    fn reports_count_at_any_severity_and_on_a_console() {
        let log = "6,1,10,-;INFO: possible circular locking\n[  1.0] BUG: sleeping";
        assert_eq!(find(log, &[]).len(), 2);
        assert!(find("[    0.1] Linux version 6.12", &[]).is_empty());
    }

    #[test]
    fn allowed_parts_are_left_out() {
        let log = "4,1,1,-;hermit: isle 1: no memory\n4,2,2,-;other";
        assert_eq!(find(log, &["hermit: ".into()]), ["other"]);
    }
}

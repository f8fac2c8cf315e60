// SPDX-License-Identifier: MIT OR Apache-2.0
//! What Linux logs on being asked where everything waits (sysrq l, t and w).

/// With which its answer begins.
const START: &str = "sysrq: Show backtrace of all active CPUs";
const BLOCKED: &str = "sysrq: Show Blocked State";
const LINES_SHOWN: usize = 60;

/// The log up to there; what follows is no complaint of Linux's own.
pub fn before(log: &str) -> &str {
    log.find(START).map_or(log, |at| &log[..at])
}

/// The blocked tasks with their stacks, for a person.
pub fn blocked(log: &str) -> String {
    let Some(at) = log.find(BLOCKED) else { return String::new() };
    let texts = log[at..].lines().map(|line| line.split_once(';').map_or(line, |(_, text)| text));
    texts.take(LINES_SHOWN).map(|text| format!("  | {text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_told_from_the_log() {
        let log = "6,1,1,-;fine\n6,2,2,-;sysrq: Show backtrace of all active CPUs\n6,3,3,-;Call Trace:\n\
                   6,4,4,-;sysrq: Show Blocked State\n6,5,5,-;task:sh state:D\n";
        assert!(!before(log).contains("Call Trace") && before(log).contains("fine"));
        assert_eq!(blocked(log), "  | sysrq: Show Blocked State\n  | task:sh state:D\n");
        assert_eq!(blocked("6,1,1,-;fine"), "");
        assert_eq!(before("6,1,1,-;fine"), "6,1,1,-;fine");
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the guest logs on being asked where everything waits: the isles' state and statistics, then what Linux says
//! of its CPUs and tasks (sysrq l, t and w).

/// With which the answer begins.
const START: &str = "isle0 state: ";
const BLOCKED: &str = "sysrq: Show Blocked State";
const LINES_SHOWN: usize = 60;

/// The log up to there; what follows is no complaint of Linux's own.
pub fn before(log: &str) -> &str {
    log.find(START).map_or(log, |at| &log[..at])
}

/// What the isles say, and the blocked tasks with their stacks, for a person.
pub fn summary(log: &str) -> String {
    let texts = |from: &'static str| {
        let part = log.find(from).map_or("", |at| &log[at..]);
        part.lines().map(|line| line.split_once(';').map_or(line, |(_, text)| text))
    };
    let isles = texts(START).take_while(|text| text.starts_with("isle"));
    isles.chain(texts(BLOCKED)).take(LINES_SHOWN).map(|text| format!("  | {text}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_told_from_the_log() {
        let log = "6,1,1,-;fine\n14,2,2,-;isle0 state: running\n6,3,3,-;Call Trace:\n\
                   6,4,4,-;sysrq: Show Blocked State\n6,5,5,-;task:sh state:D\n";
        assert!(!before(log).contains("Call Trace") && before(log).contains("fine"));
        assert_eq!(summary(log), "  | isle0 state: running\n  | sysrq: Show Blocked State\n  | task:sh state:D\n");
        assert_eq!(summary("6,1,1,-;fine"), "");
        assert_eq!(before("6,1,1,-;fine"), "6,1,1,-;fine");
    }
}

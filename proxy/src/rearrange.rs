// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a child's descriptors come to be from the proxy's: a list of steps that needs no memory when it is taken.

use std::collections::{BTreeMap, BTreeSet};

/// What a child does with its descriptors before it calls execve(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Closes a range: close_range(2).
    Close { first: u32, last: u32 },
    /// Has it stay open at execve(2).
    Keep(i32),
    /// dup2(2).
    Copy { from: i32, to: i32 },
    /// Duplicates it to the lowest number that is free.
    SetAside(i32),
    /// Moves what was set aside to this number.
    Fetch(i32),
}

/// The steps after which the child has exactly these descriptors, whatever it had besides the sources. `sources`: for each number
/// in the child where it is now. No number is negative.
pub fn plan(sources: &BTreeMap<i32, i32>) -> Vec<Step> {
    let mut steps = Vec::new();
    // First, so that what is set aside finds a number; it takes one that is no target, since by then all of those are open.
    close_others(sources.values().copied().collect(), &mut steps);
    let (stay, mut moves): (BTreeMap<i32, i32>, _) = sources.iter().partition(|(to, from)| to == from);
    steps.extend(stay.keys().map(|fd| Step::Keep(*fd)));
    // How many moves need what is under a number.
    let mut readers: BTreeMap<i32, usize> = BTreeMap::new();
    for from in moves.values() {
        *readers.entry(*from).or_default() += 1;
    }
    let mut free: Vec<i32> = moves.keys().filter(|to| !readers.contains_key(to)).copied().collect();
    while let Some(to) = free.pop() {
        let Some(from) = moves.remove(&to) else { continue };
        steps.push(Step::Copy { from, to });
        if let Some(left) = readers.get_mut(&from) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                free.push(from);
            }
        }
    }
    // What is left are circles.
    while let Some((&start, _)) = moves.first_key_value() {
        steps.push(Step::SetAside(start));
        let mut to = start;
        while let Some(from) = moves.remove(&to) {
            if from == start {
                steps.push(Step::Fetch(to));
            } else {
                steps.push(Step::Copy { from, to });
            }
            to = from;
        }
    }
    close_others(sources.keys().copied().collect(), &mut steps);
    steps
}

/// Closes all but these.
fn close_others(keep: BTreeSet<i32>, steps: &mut Vec<Step>) {
    let mut first: u32 = 0;
    for fd in keep.into_iter().filter_map(|fd| u32::try_from(fd).ok()) {
        if let Some(last) = fd.checked_sub(1).filter(|last| *last >= first) {
            steps.push(Step::Close { first, last });
        }
        first = fd.saturating_add(1);
    }
    steps.push(Step::Close { first, last: u32::MAX });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes the steps on a table of what is open under each number and whether it closes at execve(2).
    fn take(steps: &[Step], mut table: BTreeMap<i32, (i32, bool)>) -> BTreeMap<i32, i32> {
        let mut aside = None;
        for step in steps {
            match *step {
                Step::Close { first, last } => table.retain(|fd, _| !(first..=last).contains(&(*fd as u32))),
                Step::Keep(fd) => table.get_mut(&fd).unwrap().1 = false,
                Step::Copy { from, to } => {
                    let file = table[&from].0;
                    assert_ne!(from, to);
                    table.insert(to, (file, false));
                }
                Step::SetAside(fd) => {
                    let lowest = (0..).find(|n| !table.contains_key(n)).unwrap();
                    let file = table[&fd].0;
                    table.insert(lowest, (file, true));
                    assert_eq!(aside.replace(lowest), None);
                }
                Step::Fetch(to) => {
                    let (file, _) = table.remove(&aside.take().unwrap()).unwrap();
                    table.insert(to, (file, false));
                }
            }
        }
        table.into_iter().filter(|(_, (_, closes))| !closes).map(|(fd, (file, _))| (fd, file)).collect()
    }

    fn check(sources: &BTreeMap<i32, i32>, others: &BTreeSet<i32>) {
        let open = sources.values().chain(others).map(|fd| (*fd, (*fd, true))).collect();
        assert_eq!(&take(&plan(sources), open), sources);
    }

    #[test]
    fn swaps_rings_and_fans() {
        let others: BTreeSet<i32> = (0..20).collect();
        for sources in [
            vec![],
            vec![(0, 0), (1, 1), (2, 2)],
            vec![(3, 4), (4, 3)],
            vec![(0, 1), (1, 2), (2, 0), (5, 6), (6, 5), (7, 7), (9, 7)],
            vec![(1, 9), (2, 9), (9, 1)],
            vec![(4, 5), (5, 6), (6, 7)],
            vec![(7, 6), (6, 5), (5, 4)],
            vec![(i32::MAX, 0)],
            vec![(0, 5), (5, 5)],
        ] {
            let sources = sources.into_iter().collect();
            check(&sources, &others);
            check(&sources, &BTreeSet::new());
        }
    }

    #[test]
    fn a_swap_sets_one_aside() {
        let steps = plan(&[(3, 4), (4, 3)].into());
        let close = [Step::Close { first: 0, last: 2 }, Step::Close { first: 5, last: u32::MAX }];
        let swap = [Step::SetAside(3), Step::Copy { from: 4, to: 3 }, Step::Fetch(4)];
        assert_eq!(steps, [&close[..], &swap, &close].concat());
    }

    proptest! {
        #[test]
        fn any_mapping(
            sources in proptest::collection::btree_map(0..12, 0..12, 0..12),
            others in proptest::collection::btree_set(0..16, 0..16),
        ) {
            check(&sources, &others);
        }
    }
}

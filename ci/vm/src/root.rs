// SPDX-License-Identifier: MIT OR Apache-2.0
//! ROOT: a directory tree of the host that becomes the guest's root file system.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use rustix::fs::{fstat, open, openat2, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// Where the guest has file systems or files of its own, whatever the tree has there (ci/guest/furnish.sh and init).
const OWN: &[&str] = &["/app", "/dev", "/host", "/proc", "/request", "/run", "/sys", "/tmp"];

/// File systems that aren't files but a kernel's or a daemon's answers: reading through one of the host's from the
/// guest would tell of the wrong kernel, or block QEMU.
const ANSWERS: &[&str] = &[
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub dir: PathBuf,
    /// Mount points below it, by their names in the tree, that the guest covers with an empty directory.
    pub masks: Vec<PathBuf>,
}

impl Root {
    pub fn find(given: &Path) -> Result<Root> {
        let name = given.display();
        ensure!(given.is_dir(), "ROOT={name}: there is no such directory");
        let dir = given.canonicalize().with_context(|| format!("ROOT={name}"))?;
        ensure!(has_shell(&dir)?, "ROOT={name} has no program /bin/sh: name the top of a system's directory tree");
        let mounts = fs::read("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let masks = masks(&mounts, &dir);
        Ok(Root { dir, masks })
    }

    /// What the guest calls `program`, if the tree has it where the guest sees it. The last part of the name is kept
    /// even if it is a link, since programs go by their names.
    pub fn inside(&self, program: &Path) -> Option<PathBuf> {
        let folder = program.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
        let inside = Path::new("/").join(folder.strip_prefix(&self.dir).ok()?).join(program.file_name()?);
        let hidden = self.masks.iter().any(|mask| inside.starts_with(mask));
        (!hidden && !is_own(&inside)).then_some(inside)
    }
}

fn is_own(inside: &Path) -> bool {
    OWN.iter().any(|own| inside.starts_with(own))
}

/// Whether /bin/sh is an executable file, with all links taken as the guest will take them.
fn has_shell(dir: &Path) -> Result<bool> {
    let root = open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let shell = openat2(&root, "bin/sh", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT);
    let mode = match shell {
        Ok(shell) => fstat(&shell)?.st_mode,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Ok(false),
        Err(error) => bail!("{}: cannot look for /bin/sh: {error}", dir.display()),
    };
    Ok(mode & 0o170000 == 0o100000 && mode & 0o111 != 0)
}

/// The outermost mount points of `ANSWERS` below `dir` that `OWN` doesn't cover. Format: proc_pid_mountinfo(5).
fn masks(mountinfo: &[u8], dir: &Path) -> Vec<PathBuf> {
    let mut masks: Vec<PathBuf> = mountinfo
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut words = line.split(|byte| *byte == b' ');
            let point = PathBuf::from(OsString::from_vec(unescape(words.nth(4)?)));
            let kind = words.skip_while(|word| *word != b"-").nth(1)?;
            let below = point.strip_prefix(dir).ok()?;
            let inside = Path::new("/").join(below);
            let masked = ANSWERS.iter().any(|answers| answers.as_bytes() == kind);
            (masked && !below.as_os_str().is_empty() && !is_own(&inside)).then_some(inside)
        })
        .collect();
    masks.sort();
    masks.dedup_by(|later, earlier| later.starts_with(earlier));
    masks
}

/// Blank, tab, newline and backslash are written in octal there.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| after.get(..3)).flatten();
        let code = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    bytes
}

/// For `/request/masks`: each ended by a zero byte.
pub fn zero_ended(paths: &[PathBuf]) -> Vec<u8> {
    paths.iter().flat_map(|path| path.as_os_str().as_bytes().iter().copied().chain([0])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("hermit-vm-root-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("usr/bin")).unwrap();
            Tree(dir.canonicalize().unwrap())
        }

        fn shell(&self, mode: u32) {
            let shell = self.0.join("usr/bin/dash");
            fs::write(&shell, "").unwrap();
            fs::set_permissions(&shell, fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_tree_needs_a_shell() {
        let tree = Tree::new("shell");
        let refused = |tree: &Tree| Root::find(&tree.0).unwrap_err().to_string();
        assert!(refused(&tree).contains("has no program /bin/sh"));
        // Absolute links are taken within the tree, as the guest takes them: the host's own shell doesn't count.
        symlink("/usr/bin", tree.0.join("bin")).unwrap();
        assert!(refused(&tree).contains("has no program /bin/sh"));
        symlink("/usr/bin/dash", tree.0.join("usr/bin/sh")).unwrap();
        assert!(refused(&tree).contains("has no program /bin/sh"));
        tree.shell(0o644);
        assert!(refused(&tree).contains("has no program /bin/sh"));
        tree.shell(0o755);
        assert_eq!(Root::find(&tree.0).unwrap().dir, tree.0);
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        for wrong in ["/nonexistent", "/proc/self/exe"] {
            let error = Root::find(Path::new(wrong)).unwrap_err().to_string();
            assert_eq!(error, format!("ROOT={wrong}: there is no such directory"));
        }
    }

    #[test]
    fn programs_of_the_tree_are_run_where_they_are() {
        let tree = Tree::new("inside");
        tree.shell(0o755);
        symlink("dash", tree.0.join("usr/bin/sh")).unwrap();
        let mut root = Root { dir: tree.0.clone(), masks: vec![] };
        assert_eq!(root.inside(&tree.0.join("usr/../usr/bin/sh")), Some("/usr/bin/sh".into()));
        assert_eq!(root.inside(Path::new("/bin/sh")), None);
        root.masks = vec!["/usr/bin".into()];
        assert_eq!(root.inside(&tree.0.join("usr/bin/sh")), None);
        // Nothing of the host's /proc and /tmp is there in the guest.
        let host = Root { dir: "/".into(), masks: vec![] };
        assert_eq!(host.inside(Path::new("/proc/self/exe")), None);
        assert_eq!(host.inside(Path::new("/bin/sh")).and_then(|path| path.file_name().map(|n| n == "sh")), Some(true));
    }

    #[test]
    fn other_kernels_answers_are_masked() {
        let mountinfo = b"22 27 0:21 / /proc rw shared:1 - proc proc rw\n\
            27 1 254:0 / / rw - ext4 /dev/vda rw\n\
            30 27 0:3 / /srv/a\\040b\\134/sys rw,nosuid master:1 shared:3 - sysfs none rw\n\
            31 30 0:4 / /srv/a\\040b\\134/sys/fs/cgroup rw - cgroup2 none rw\n\
            32 27 0:5 / /srv/data rw - tmpfs none rw\n\
            33 27 0:6 / /srv/sys- rw - sysfs - rw\n\
            34 27 broken\n";
        assert_eq!(masks(mountinfo, Path::new("/")), [Path::new("/srv/a b\\/sys"), Path::new("/srv/sys-")]);
        assert_eq!(masks(mountinfo, Path::new("/srv/a b\\")), Vec::<PathBuf>::new());
        assert_eq!(masks(mountinfo, Path::new("/srv/sys-")), Vec::<PathBuf>::new());
        assert_eq!(zero_ended(&["/a b".into(), "/c\n".into()]), b"/a b\0/c\n\0");
    }

    #[test]
    fn only_whole_octal_codes_are_codes() {
        assert_eq!(unescape(b"a\\040b\\01"), b"a b\\01");
        assert_eq!(unescape(b"\\9\\777"), b"\\9\\777");
    }
}

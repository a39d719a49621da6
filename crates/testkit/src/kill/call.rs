//! Which system calls count.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result, bail};
use nix::libc;
use nix::unistd::Pid;

use super::answer::registers;

/// A system call that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub(super) name: &'static str,
    pub(super) arguments: [u64; 6],
    pub(super) file: Option<String>,
}

/// When a call of a kind changes something.
#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    /// The argument of this index holds flags that create or empty a file.
    Creates(usize),
    /// As `Creates`, but the argument points at a structure that begins with the flags.
    CreatesBy(usize),
    /// The argument of this index is a descriptor of a file, not of a pipe or the like.
    OnFile(usize),
    /// The request shares extents or sets flags of a file.
    Ioctl,
}

macro_rules! table {
    ($($name:ident = $number:ident: $when:expr,)*) => {
        &[$((libc::$number, stringify!($name), $when)),*]
    };
}

type Row = (i64, &'static str, When);

const COMMON: &[Row] = table! {
    openat = SYS_openat: When::Creates(2),
    openat2 = SYS_openat2: When::CreatesBy(2),
    mkdirat = SYS_mkdirat: When::Always,
    mknodat = SYS_mknodat: When::Always,
    linkat = SYS_linkat: When::Always,
    symlinkat = SYS_symlinkat: When::Always,
    renameat = SYS_renameat: When::Always,
    renameat2 = SYS_renameat2: When::Always,
    unlinkat = SYS_unlinkat: When::Always,
    write = SYS_write: When::OnFile(0),
    pwrite64 = SYS_pwrite64: When::OnFile(0),
    writev = SYS_writev: When::OnFile(0),
    pwritev = SYS_pwritev: When::OnFile(0),
    pwritev2 = SYS_pwritev2: When::OnFile(0),
    sendfile = SYS_sendfile: When::OnFile(0),
    splice = SYS_splice: When::OnFile(2),
    copy_file_range = SYS_copy_file_range: When::OnFile(2),
    truncate = SYS_truncate: When::Always,
    ftruncate = SYS_ftruncate: When::OnFile(0),
    fallocate = SYS_fallocate: When::OnFile(0),
    ioctl = SYS_ioctl: When::Ioctl,
    fchmod = SYS_fchmod: When::Always,
    fchmodat = SYS_fchmodat: When::Always,
    fchmodat2 = SYS_fchmodat2: When::Always,
    fchown = SYS_fchown: When::Always,
    fchownat = SYS_fchownat: When::Always,
    utimensat = SYS_utimensat: When::Always,
    setxattr = SYS_setxattr: When::Always,
    lsetxattr = SYS_lsetxattr: When::Always,
    fsetxattr = SYS_fsetxattr: When::Always,
    removexattr = SYS_removexattr: When::Always,
    lremovexattr = SYS_lremovexattr: When::Always,
    fremovexattr = SYS_fremovexattr: When::Always,
    fsync = SYS_fsync: When::Always,
    fdatasync = SYS_fdatasync: When::Always,
    sync_file_range = SYS_sync_file_range: When::Always,
    syncfs = SYS_syncfs: When::Always,
    sync = SYS_sync: When::Always,
    mount = SYS_mount: When::Always,
    fsopen = SYS_fsopen: When::Always,
    fsconfig = SYS_fsconfig: When::Always,
    umount2 = SYS_umount2: When::Always,
    open_tree = SYS_open_tree: When::Always,
    move_mount = SYS_move_mount: When::Always,
    fsmount = SYS_fsmount: When::Always,
    mount_setattr = SYS_mount_setattr: When::Always,
};

/// Old forms that only some architectures have.
#[cfg(target_arch = "x86_64")]
const OLD: &[Row] = table! {
    open = SYS_open: When::Creates(1),
    creat = SYS_creat: When::Always,
    mkdir = SYS_mkdir: When::Always,
    rmdir = SYS_rmdir: When::Always,
    mknod = SYS_mknod: When::Always,
    link = SYS_link: When::Always,
    symlink = SYS_symlink: When::Always,
    rename = SYS_rename: When::Always,
    unlink = SYS_unlink: When::Always,
    chmod = SYS_chmod: When::Always,
    chown = SYS_chown: When::Always,
    lchown = SYS_lchown: When::Always,
    utimes = SYS_utimes: When::Always,
    utime = SYS_utime: When::Always,
    futimesat = SYS_futimesat: When::Always,
};
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Row] = &[];

/// The numbers of all calls that may count.
pub(super) fn watched() -> impl Iterator<Item = i64> {
    COMMON.iter().chain(OLD).map(|row| row.0)
}

impl Call {
    /// Whether it is the same call on the same descriptor of the same file: what the further
    /// registers hold means nothing for many a call.
    pub fn repeats(&self, other: &Self) -> bool {
        let key = |call: &Self| (call.name, call.arguments[0], call.file.clone());
        key(self) == key(other)
    }

    /// The system call's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The file that the call is about: what its first argument is open on, or what it reads.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Where the count of bytes stands that the call is to move, if it can move fewer.
    pub(super) fn length(&self) -> Option<usize> {
        let index = match self.name {
            "read" | "write" | "pread64" | "pwrite64" => 2,
            "sendfile" => 3,
            "copy_file_range" | "splice" => 4,
            _ => return None,
        };
        (self.arguments[index] > 1).then_some(index)
    }

    /// Whether the call moves bytes, and can move fewer than it is asked to.
    pub fn moves(&self) -> bool {
        self.length().is_some()
    }

    /// The call at whose entry a thread stands, if it can change something.
    pub(super) fn at(thread: Pid) -> Result<Option<Self>> {
        let (number, arguments) = registers(thread)?;
        let row = COMMON.iter().chain(OLD).find(|row| row.0 == number);
        let Some((_, name, when)) = row else { bail!("stopped at an unknown call {number}") };
        let counts = match *when {
            When::Always => true,
            When::Creates(index) => creates(arguments[index]),
            When::CreatesBy(index) => creates(word_at(thread, arguments[index])?),
            When::OnFile(index) => is_file(thread, arguments[index]),
            When::Ioctl => changes(arguments[1]),
        };
        let file = descriptor(thread, arguments[0]);
        Ok(counts.then_some(Self { name, arguments, file }))
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({:#x}, {:#x}, …)", self.name, self.arguments[0], self.arguments[1])?;
        self.file.as_ref().map_or(Ok(()), |file| write!(f, " on {file}"))
    }
}

#[expect(clippy::cast_sign_loss, reason = "flags are bits")]
fn creates(flags: u64) -> bool {
    let has = |bits: libc::c_int| flags & bits as u64 == bits as u64;
    has(libc::O_CREAT) || has(libc::O_TRUNC) || has(libc::O_TMPFILE)
}

fn changes(request: u64) -> bool {
    // FICLONE, FICLONERANGE, FIDEDUPERANGE, FS_IOC_SETFLAGS.
    [0x4004_9409, 0x4020_940d, 0xc018_9436, 0x4008_6602].contains(&(request & 0xffff_ffff))
}

fn is_file(thread: Pid, number: u64) -> bool {
    fs::metadata(descriptor_link(thread, number)).is_ok_and(|meta| meta.is_file())
}

pub(super) fn descriptor(thread: Pid, number: u64) -> Option<String> {
    let target = fs::read_link(descriptor_link(thread, number)).ok()?;
    Some(target.to_string_lossy().into_owned())
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel looks at 32 bits, too")]
fn descriptor_link(thread: Pid, number: u64) -> String {
    format!("/proc/{thread}/fd/{}", number as i32)
}

pub(super) fn word_at(thread: Pid, address: u64) -> Result<u64> {
    let mut word = [0; 8];
    let memory = File::open(format!("/proc/{thread}/mem")).context("open a thread's memory")?;
    memory.read_exact_at(&mut word, address).context("read a thread's memory")?;
    Ok(u64::from_ne_bytes(word))
}

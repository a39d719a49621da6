//! A stopped call's number and arguments; others, and an answer in the kernel's stead.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

#[cfg(target_arch = "x86_64")]
#[expect(clippy::cast_possible_wrap, reason = "a call's number is small")]
pub(super) fn registers(thread: Pid) -> Result<(i64, [u64; 6])> {
    let regs = ptrace::getregs(thread).context("read registers")?;
    Ok((regs.orig_rax as i64, [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9]))
}

#[cfg(target_arch = "aarch64")]
#[expect(clippy::cast_possible_wrap, reason = "a call's number is small")]
pub(super) fn registers(thread: Pid) -> Result<(i64, [u64; 6])> {
    let regs = ptrace::getregs(thread).context("read registers")?.regs;
    Ok((regs[8] as i64, [regs[0], regs[1], regs[2], regs[3], regs[4], regs[5]]))
}

/// Has the call at whose entry a thread stands fail without having begun.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::cast_sign_loss, reason = "a register holds bits")]
pub(super) fn refuse(thread: Pid, errno: Errno) -> Result<()> {
    let mut regs = ptrace::getregs(thread).context("read registers")?;
    // No call has this number: the kernel skips it and leaves the answer alone.
    regs.orig_rax = u64::MAX;
    regs.rax = -i64::from(errno as i32) as u64;
    ptrace::setregs(thread, regs).context("write registers")
}

/// Gives the call at whose entry a thread stands another argument in the place `index`.
#[cfg(target_arch = "x86_64")]
pub(super) fn change(thread: Pid, index: usize, argument: u64) -> Result<()> {
    let mut regs = ptrace::getregs(thread).context("read registers")?;
    let arguments =
        [&mut regs.rdi, &mut regs.rsi, &mut regs.rdx, &mut regs.r10, &mut regs.r8, &mut regs.r9];
    *arguments.into_iter().nth(index).context("an argument's place")? = argument;
    ptrace::setregs(thread, regs).context("write registers")
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn change(_: Pid, _: usize, _: u64) -> Result<()> {
    anyhow::bail!("calls can be changed on x86-64 only")
}

/// Where the number of a call is no plain register nothing is refused.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn refuse(_: Pid, errno: Errno) -> Result<()> {
    anyhow::bail!("calls can be made to fail ({errno}) on x86-64 only")
}

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicUsize, Ordering};

use storage_core::Digest;
use tempfile::TempDir;

use super::*;

const LONG: Duration = Duration::from_mins(10);

fn blobs(names: &[u8]) -> BTreeSet<BlobDigest> {
    names.iter().map(|name| BlobDigest::from(Digest::of(&[*name]))).collect()
}

fn run_root() -> (TempDir, File) {
    let dir = tempfile::tempdir().unwrap();
    let handle = File::open(dir.path()).unwrap();
    (dir, handle)
}

/// What a killed pull leaves of its marks and locks.
fn dead_pull(dir: &TempDir, name: &str, locked: &BTreeSet<BlobDigest>) {
    for (folder, files) in [("reflayer-pulls", vec![name.to_owned()]), (DIRECTORY, vec![])] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        for file in files {
            std::fs::write(dir.path().join(folder).join(file), "").unwrap();
        }
    }
    for blob in locked {
        symlink(name, dir.path().join(DIRECTORY).join(file_name(blob))).unwrap();
    }
}

#[test]
fn all_locks_are_taken_or_none() {
    let (_dir, run) = run_root();
    let marks: Vec<_> = (0..3).map(|_| PullMark::create(&run).unwrap()).collect();
    let [mut a, mut b, mut c] = [0, 1, 2].map(|i| BlobLocks::new(run.as_fd(), &marks[i]).unwrap());
    assert_eq!(a.try_take(&blobs(&[1, 2])).unwrap(), None);
    let holder = b.try_take(&blobs(&[2, 3])).unwrap().unwrap();
    assert_eq!((&*holder.pull, &holder.blobs), (marks[0].name(), &blobs(&[2])));
    assert_eq!(c.try_take(&blobs(&[3])).unwrap(), None);
    drop(c);
    a.keep_only(&blobs(&[1])).unwrap();
    assert_eq!(b.wait(&holder, LONG).unwrap(), Waited::Released);
    assert_eq!(b.try_take(&blobs(&[2, 3])).unwrap(), None);
    // Its own locks are in nobody's way.
    assert_eq!(b.try_take(&blobs(&[2, 3])).unwrap(), None);
}

#[test]
fn only_free_locks_are_taken_on_request() {
    let (_dir, run) = run_root();
    let marks: Vec<_> = (0..3).map(|_| PullMark::create(&run).unwrap()).collect();
    let [mut a, mut b, mut c] = [0, 1, 2].map(|i| BlobLocks::new(run.as_fd(), &marks[i]).unwrap());
    assert_eq!(a.try_take(&blobs(&[1])).unwrap(), None);
    b.take_free(&blobs(&[1, 2])).unwrap();
    let holder = c.try_take(&blobs(&[1])).unwrap().unwrap();
    assert_eq!(holder.pull, marks[0].name());
    let holder = c.try_take(&blobs(&[2])).unwrap().unwrap();
    assert_eq!(holder.pull, marks[1].name());
}

#[test]
fn locks_of_the_dead_are_free() {
    let (dir, run) = run_root();
    dead_pull(&dir, "dead", &blobs(&[1]));
    let mark = PullMark::create(&run).unwrap();
    let mut locks = BlobLocks::new(run.as_fd(), &mark).unwrap();
    assert_eq!(locks.try_take(&blobs(&[1, 2])).unwrap(), None);
}

#[test]
fn who_waits_goes_on_when_the_holder_dies() {
    let (dir, run) = run_root();
    let mark = PullMark::create(&run).unwrap();
    let mut locks = BlobLocks::new(run.as_fd(), &mark).unwrap();
    dead_pull(&dir, "dies", &blobs(&[1]));
    let alive = Lock::exclusive(File::open(dir.path().join("reflayer-pulls")).unwrap(), "dies");
    let holder = locks.try_take(&blobs(&[1])).unwrap().unwrap();
    drop(alive.unwrap());
    assert_eq!(locks.wait(&holder, LONG).unwrap(), Waited::Released);
    assert_eq!(locks.try_take(&blobs(&[1])).unwrap(), None);
}

#[test]
fn a_stalled_holder_loses_its_locks_for_good() {
    let (_dir, run) = run_root();
    let marks: Vec<_> = (0..3).map(|_| PullMark::create(&run).unwrap()).collect();
    let [mut a, mut b, mut c] = [0, 1, 2].map(|i| BlobLocks::new(run.as_fd(), &marks[i]).unwrap());
    assert_eq!(a.try_take(&blobs(&[1, 2])).unwrap(), None);
    let holder = b.try_take(&blobs(&[1, 2])).unwrap().unwrap();
    assert_eq!(b.wait(&holder, Duration::ZERO).unwrap(), Waited::Stalled);
    assert_eq!(b.try_take(&blobs(&[1, 2])).unwrap(), None);
    // A third one now waits for the second, even if the first gives its locks back.
    a.keep_only(&BTreeSet::new()).unwrap();
    let holder = c.try_take(&blobs(&[1])).unwrap().unwrap();
    assert_eq!(holder.pull, marks[1].name());
}

#[test]
fn a_holder_that_moves_is_not_stalled() {
    let (_dir, run) = run_root();
    let mark = PullMark::create(&run).unwrap();
    let before = last_beat(&run, mark.name()).unwrap().unwrap();
    let pulse = mark.pulse().unwrap();
    // Beats are shown a few times a second.
    while last_beat(&run, mark.name()).unwrap() == Some(before) {
        pulse.beat();
        std::thread::yield_now();
    }
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut watch = Watch::new(1, start);
    assert_eq!(watch.unchanged(1, at(7)).as_secs(), 7);
    assert_eq!(watch.unchanged(2, at(9)).as_secs(), 0);
    assert_eq!(watch.unchanged(2, at(12)).as_secs(), 3);
    assert_eq!(watch.unchanged(1, at(13)).as_secs(), 0);
}

#[test]
fn one_pull_has_a_blob_at_a_time_and_none_waits_for_ever() {
    let (_dir, run) = run_root();
    let inside: Vec<AtomicUsize> = (0..4).map(|_| AtomicUsize::new(0)).collect();
    std::thread::scope(|scope| {
        for wanted in [[0, 1], [1, 2], [2, 3], [3, 0]] {
            let (run, inside) = (&run, &inside);
            scope.spawn(move || {
                for _ in 0..5 {
                    let mark = PullMark::create(run).unwrap();
                    let mut locks = BlobLocks::new(run.as_fd(), &mark).unwrap();
                    while let Some(holder) = locks.try_take(&blobs(&wanted)).unwrap() {
                        assert_eq!(locks.wait(&holder, LONG).unwrap(), Waited::Released);
                    }
                    for blob in wanted {
                        let others = inside[usize::from(blob)].fetch_add(1, Ordering::SeqCst);
                        assert_eq!(others, 0);
                    }
                    std::thread::yield_now();
                    for blob in wanted {
                        inside[usize::from(blob)].fetch_sub(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
}

#[test]
fn locks_of_the_dead_and_nothing_else_are_swept() {
    let (dir, run) = run_root();
    dead_pull(&dir, "dead", &blobs(&[1, 2]));
    let mark = PullMark::create(&run).unwrap();
    let mut locks = BlobLocks::new(run.as_fd(), &mark).unwrap();
    assert_eq!(locks.try_take(&blobs(&[2, 3])).unwrap(), None);
    assert_eq!(remove_dead_blob_locks(&run).unwrap(), 1);
    let left = || dir.path().join(DIRECTORY).read_dir().unwrap().count();
    assert_eq!(left(), 3, "two locks and the mutex");
    drop(locks);
    assert_eq!(left(), 1);
    assert_eq!(remove_dead_blob_locks(&run).unwrap(), 0);
}

#[test]
fn what_is_no_lock_of_ours_protects_nothing() {
    let (dir, run) = run_root();
    let mark = PullMark::create(&run).unwrap();
    let mut locks = BlobLocks::new(run.as_fd(), &mark).unwrap();
    let place = |name: u8| {
        let blob = *blobs(&[name]).first().unwrap();
        dir.path().join(DIRECTORY).join(file_name(&blob))
    };
    std::fs::write(place(1), "a file").unwrap();
    symlink("../reflayer-pulls/x", place(2)).unwrap();
    assert_eq!(locks.try_take(&blobs(&[1, 2])).unwrap(), None);
}

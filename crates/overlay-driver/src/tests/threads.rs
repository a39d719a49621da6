//! Several at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;

use super::store::{Store, id};

#[test]
fn threads_stage_and_commit_while_another_recovers() {
    const THREADS: u8 = 2;
    const LAYERS: u8 = 12;
    let store = Store::new();
    let barrier = Barrier::new(usize::from(THREADS) + 1);
    let running = AtomicBool::new(true);
    // The part of the store's lock, under which commits happen.
    let lock = Mutex::new(());
    thread::scope(|scope| {
        let (store, barrier, lock, running) = (&store, &barrier, &lock, &running);
        let workers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    barrier.wait();
                    for n in 0..LAYERS {
                        let id = id(thread * LAYERS + n);
                        let sealed = store.sealed(&super::store::file_of(&id));
                        let guard = lock.lock().unwrap();
                        let aside = store.driver.commit(sealed, &id, None).unwrap();
                        drop(guard);
                        drop(aside);
                    }
                })
            })
            .collect();
        let recoverer = scope.spawn(move || {
            barrier.wait();
            while running.load(Ordering::SeqCst) {
                // Nobody is dead. All that can be found is a slot that its owner has emptied
                // and unlocked, an instant before its name goes.
                store.driver.recover().unwrap();
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        running.store(false, Ordering::SeqCst);
        recoverer.join().unwrap();
    });
    assert_eq!(store.driver.layer_dirs().unwrap().len(), usize::from(THREADS * LAYERS));
    for id in store.driver.layer_dirs().unwrap() {
        store.assert_whole(&id);
    }
    store.assert_tidy();
}

//! Doubtful answers: a writer knows its own write, and nothing is done twice.

use super::faulty::{ALL, Fault, Faulty};
use super::{impatient, registration, time, tree};
use crate::directory::Directory;
use crate::{Created, Error, Registry};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use std::sync::Arc;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(30);

fn stores() -> Vec<(Arc<dyn ObjectStore>, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let directory = Arc::new(Directory::open(folder.path()).unwrap());
    vec![(Arc::new(InMemory::new()), tempfile::tempdir().unwrap()), (directory, folder)]
}

async fn plans(registry: &Registry) -> Vec<(u64, String)> {
    registry.endpoint("a", "e").unwrap().plans(100).await.unwrap()
}

#[tokio::test]
async fn every_fault_alone_and_twice() {
    for (store, _place) in stores() {
        let faulty = Faulty::scripted(store, &[]);
        let registry = impatient(faulty.clone(), DEADLINE);
        let endpoint = registry.endpoint("a", "e").unwrap();
        let mut seq = 0;
        for first in ALL {
            for second in ALL {
                for reads in [0, 3] {
                    seq += 1;
                    faulty.then(&[first]);
                    if first != Fault::None {
                        faulty.then(&[second]);
                    }
                    // The second fault is only met when the first left nothing behind.
                    let answer = endpoint.append_plan(seq, &format!("{first:?} {second:?}")).await.unwrap();
                    assert_eq!(answer, Created::Now, "{first:?} {second:?}: our own write");
                    while faulty.left() > 0 {
                        seq += 1;
                        endpoint.append_plan(seq, &"clean up").await.unwrap();
                    }
                    let run = registry.model("a", "m").unwrap().run(&format!("r{seq}")).unwrap();
                    faulty.then(&[first]);
                    faulty.fail_reads(reads);
                    assert_eq!(run.finish(&1).await.unwrap(), Created::Now, "{first:?}, {reads} reads fail");
                    faulty.fail_reads(0);
                    assert_eq!(run.finish(&1).await.unwrap(), Created::Already);
                }
            }
        }
        // Late writes have landed by now; they must have changed nothing.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(plans(&registry).await.len() as u64, seq.min(100));
        assert_eq!(endpoint.latest_plan::<String>().await.unwrap().unwrap().0, seq);
    }
}

#[tokio::test]
async fn anothers_write_is_not_taken_for_ours() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let other = impatient(store.clone(), DEADLINE).model("a", "m").unwrap().run("r").unwrap();
    let faulty = Faulty::scripted(store, &[Fault::LostGeneric]);
    let run = impatient(faulty, DEADLINE).model("a", "m").unwrap().run("r").unwrap();
    assert_eq!(other.finish(&"the same bytes").await.unwrap(), Created::Now);
    assert_eq!(run.finish(&"the same bytes").await.unwrap(), Created::Already);
}

#[tokio::test]
async fn a_clear_refusal_is_given_back_at_once() {
    let faulty = Faulty::scripted(Arc::new(InMemory::new()), &[Fault::Denied]);
    let endpoint = impatient(faulty.clone(), DEADLINE).endpoint("a", "e").unwrap();
    let denied = endpoint.append_plan(1, &1).await;
    assert!(matches!(denied, Err(Error::Store { .. })), "{denied:?}");
    faulty.then(&[Fault::LostGeneric, Fault::Denied, Fault::None]);
    let answer = endpoint.append_plan(1, &1).await.unwrap();
    assert_eq!(answer, Created::Now, "after a doubtful answer a refusal proves nothing");
}

#[tokio::test]
async fn tries_and_waiting_are_bounded() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let faulty = Faulty::scripted(store.clone(), &[Fault::LostAlreadyExists; 100]);
    let endpoint = impatient(faulty.clone(), DEADLINE).endpoint("a", "e").unwrap();
    let answer = endpoint.append_plan(1, &1).await;
    assert!(matches!(answer, Err(Error::Unresolved { tries: 10, .. })), "{answer:?}");
    assert_eq!(faulty.left(), 90, "never at another sequence, never without end");
    let silent = Faulty::scripted(store, &[Fault::LostNoAnswer; 2]);
    let endpoint = impatient(silent, Duration::from_millis(50)).endpoint("a", "e").unwrap();
    let answer = endpoint.append_plan(1, &1).await;
    assert!(matches!(answer, Err(Error::Unresolved { .. })), "{answer:?}");
    assert_eq!(endpoint.latest_plan::<i32>().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_on_a_store_that_lies() {
    for seed in 0..4 {
        for (store, _place) in stores() {
            let clean = impatient(store.clone(), DEADLINE);
            let model = clean.model("a", "m").unwrap();
            model.register(tree("a").path(), registration("run-1")).await.unwrap();
            model.register(tree("b").path(), registration("run-2")).await.unwrap();
            let writers: Vec<_> = (0..8_u64)
                .map(|writer| {
                    let faulty = Faulty::random(store.clone(), seed * 100 + writer);
                    let model = impatient(faulty, DEADLINE).model("a", "m").unwrap();
                    tokio::spawn(async move {
                        let (alias, mut at) = (format!("w{writer}"), None);
                        for i in 0..20_u64 {
                            let to = Some(i % 2 + 1);
                            let reason = format!("{writer}/{i}");
                            model.move_alias(&alias, at, to, "w", &reason, time(0)).await.unwrap();
                            at = to;
                        }
                    })
                })
                .collect();
            for writer in writers {
                writer.await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            let entries = model.entries(1_000).await.unwrap();
            let mut reasons: Vec<_> = entries.iter().map(|e| e.reason.clone()).filter(|r| r.contains('/')).collect();
            reasons.sort();
            let mut expected: Vec<_> = (0..8).flat_map(|w| (0..20).map(move |i| format!("{w}/{i}"))).collect();
            expected.sort();
            assert_eq!(reasons, expected, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn registering_survives_lost_answers() {
    for fault in ALL {
        let faulty = Faulty::scripted(Arc::new(InMemory::new()), &[fault]);
        let model = impatient(faulty, DEADLINE).model("a", "m").unwrap();
        let version = model.register(tree("a").path(), registration("run-1")).await.unwrap();
        let again = model.register(tree("a").path(), registration("run-1")).await.unwrap();
        assert_eq!((version.number, again.number), (1, 1), "{fault:?}");
        assert_eq!(model.entries(10).await.unwrap().len(), 1, "{fault:?}");
    }
}

//! Runs, plans and what endpoints keep, on every kind of place.

use super::{places, time};
use crate::{Created, Error};
use serde_json::json;

#[tokio::test]
async fn runs_finish_once() {
    for (registry, _place) in places().await {
        let model = registry.model("shop", "m").unwrap();
        assert!(model.runs().await.unwrap().is_empty());
        let run = model.run("run-1").unwrap();
        assert_eq!(run.plan::<String>().await.unwrap(), None);
        assert_eq!(run.create_plan(&"one").await.unwrap(), Created::Now);
        assert_eq!(run.create_plan(&"one").await.unwrap(), Created::Already);
        assert_eq!(run.create_plan(&"two").await.unwrap(), Created::Already);
        assert_eq!(run.plan::<String>().await.unwrap().as_deref(), Some("one"));
        assert_eq!(run.outcome::<f64>().await.unwrap(), None);
        let finishes = futures::future::join_all((0..8).map(|i| {
            let run = run.clone();
            async move { (i, run.finish(&i).await.unwrap()) }
        }));
        let now: Vec<_> = finishes.await.into_iter().filter(|(_, c)| *c == Created::Now).collect();
        assert_eq!(now.len(), 1);
        assert_eq!(run.outcome::<i32>().await.unwrap(), Some(now[0].0));
        run.put_checkpoint("step-1/w.bin", vec![1].into()).await.unwrap();
        run.put_checkpoint("step-1/w.bin", vec![2].into()).await.unwrap();
        assert_eq!(run.get_checkpoint("step-1/w.bin").await.unwrap().unwrap()[..], [2]);
        assert_eq!(run.get_checkpoint("step-2/w.bin").await.unwrap(), None);
        assert!(run.get_checkpoint("../plan.json").await.is_err());
        model.run("run-2").unwrap().put_checkpoint("w", vec![].into()).await.unwrap();
        assert_eq!(model.runs().await.unwrap(), ["run-1"]);
    }
}

#[tokio::test]
async fn plans_are_numbered_and_kept_once() {
    for (registry, _place) in places().await {
        let endpoint = registry.endpoint("shop", "feed").unwrap();
        assert_eq!(endpoint.latest_plan::<i32>().await.unwrap(), None);
        let early = endpoint.append_plan(2, &0).await;
        assert!(matches!(early, Err(Error::Conflict { found: None, expected: Some(1), .. })), "{early:?}");
        assert!(matches!(endpoint.append_plan(0, &0).await, Err(Error::Invalid { .. })));
        for seq in 1..=80_u64 {
            assert_eq!(endpoint.append_plan(seq, &(seq as f32 * 0.1)).await.unwrap(), Created::Now);
        }
        assert_eq!(endpoint.append_plan(80, &(80.0_f32 * 0.1)).await.unwrap(), Created::Already);
        let other = endpoint.append_plan(80, &0.5).await;
        assert!(matches!(other, Err(Error::Conflict { found: Some(80), expected: Some(79), .. })), "{other:?}");
        assert_eq!(endpoint.latest_plan::<f32>().await.unwrap(), Some((80, 8.0)));
        let seqs: Vec<u64> = endpoint.plans::<f32>(3).await.unwrap().iter().map(|p| p.0).collect();
        assert_eq!(seqs, [80, 79, 78]);
        assert_eq!(endpoint.plans::<f32>(1_000).await.unwrap().len(), 80);
        let model = registry.model("shop", "feed").unwrap();
        assert_eq!(model.latest_plan::<f32>().await.unwrap(), None, "another log");
        assert_eq!(model.append_plan(1, &json!({"wait": true})).await.unwrap(), Created::Now);
        assert_eq!(model.plans::<serde_json::Value>(9).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_endpoints_keep() {
    for (registry, _place) in places().await {
        let endpoint = registry.endpoint("shop", "feed").unwrap();
        assert!(endpoint.windows(10).await.unwrap().is_empty());
        for key in ["20270115T080000Z-r1", "20270115T080010Z-r1", "20270115T080020Z-r1"] {
            assert_eq!(endpoint.put_window(key, key.into()).await.unwrap(), Created::Now);
            assert_eq!(endpoint.put_window(key, "other".into()).await.unwrap(), Created::Already);
        }
        let newest = endpoint.windows(2).await.unwrap();
        assert_eq!(newest, ["20270115T080020Z-r1", "20270115T080010Z-r1"]);
        assert_eq!(endpoint.window(&newest[0]).await.unwrap(), newest[0]);
        assert!(matches!(endpoint.window("none").await, Err(Error::NotFound(_))));
        let path = endpoint.put_decisions(time(0), "r1", 7, "x".into()).await.unwrap();
        assert!(path.ends_with("shop/endpoints/feed/decisions/dt=2027-01-15/hr=08/r1-7.parquet"), "{path}");
        endpoint.put_decisions(time(0), "r1", 7, "x".into()).await.unwrap();
        assert_eq!(endpoint.get_state("router.json").await.unwrap(), None);
        endpoint.put_state("router.json", "1".into()).await.unwrap();
        endpoint.put_state("router.json", "2".into()).await.unwrap();
        assert_eq!(endpoint.get_state("router.json").await.unwrap().unwrap(), "2");
        assert!(endpoint.put_state("../../x", "2".into()).await.is_err());
        // What could not be read again is not written. Pages of zeros that nobody looks at take no memory.
        let long = vec![0; (2 << 30) + 1];
        assert!(matches!(endpoint.put_state("router.json", long.into()).await, Err(Error::Corrupt { .. })));
        assert_eq!(endpoint.get_state("router.json").await.unwrap().unwrap(), "2");
    }
}

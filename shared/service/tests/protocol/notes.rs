//! Notes of an action reach every later run of it, however the one that left them ended.

use super::*;

#[tokio::test]
async fn a_note_reaches_the_next_slice_and_attempt_and_no_other_action() {
    let world = world();
    *world.engine.script.lock().unwrap() = vec![
        Behaviour::RunOutOfTime,
        Behaviour::Fail { retry: true },
        Behaviour::Succeed,
    ];
    let job = world.submit(&BOTH).await.unwrap();
    for handled in [Handled::Yielded, Handled::Yielded, Handled::Finished] {
        assert_eq!(handle(&world, &job.id).await, handled);
    }
    let noted = world.engine.noted.lock().unwrap().clone();
    let noted: Vec<_> = noted.iter().map(Option::as_deref).collect();
    assert_eq!(noted, [None, Some("run 1"), Some("run 2"), None]);
    assert_eq!(world.job(&job.id).await.note, None);
    check(&world, &job.id).await;
}

#[tokio::test]
async fn a_note_outlives_the_worker_that_left_it() {
    let world = world();
    *world.engine.script.lock().unwrap() = vec![Behaviour::RunUntilStopped];
    let job = world.submit(&BOTH).await.unwrap();
    let is_kept = async {
        while world.job(&job.id).await.note.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        ended = world.worker.handle(&job.id, None, CancellationToken::new()) => panic!("the job ended: {ended:?}"),
        () = is_kept => {}
    }
    world.clock.advance(LEASE_SECONDS + 1);
    assert_eq!(handle(&world, &job.id).await, Handled::Finished);
    let noted = world.engine.noted.lock().unwrap().clone();
    assert_eq!(noted, [None, Some("run 1".to_owned()), None]);
}

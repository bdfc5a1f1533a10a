//! A process that can end or stand still at any of its await points, all of its tasks together.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use snowpack_domain as domain;
use tokio::time::{Instant, sleep_until};

use crate::config::Fault;
use crate::dice::Dice;
use crate::time::SkewedClock;
use crate::world::World;

/// The longest time a process stands still: more than two leases.
const LONGEST_STALL_SECONDS: u64 = 400;

pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) dice: Dice,
    pub(crate) clock: SkewedClock,
    pub(crate) world: Arc<World>,
    condition: Mutex<Condition>,
}

#[derive(Default)]
struct Condition {
    dead: bool,
    stalled_until: Option<Instant>,
    hindered_until: Option<Instant>,
    waker: Option<Waker>,
}

impl Process {
    /// A new process with a clock of its own.
    pub(crate) fn start(world: &Arc<World>, name: String, dice: &Dice) -> Arc<Self> {
        let dice = dice.fork();
        let widest = world.config.skew_seconds * 1000;
        let skew = domain::Duration::from_millis(dice.between(-widest..widest + 1));
        world
            .trace
            .detail(|| format!("{name} starts, clock off by {} us", skew.as_micros()));
        Arc::new(Self {
            name,
            dice,
            clock: SkewedClock {
                start: world.start,
                skew,
            },
            world: Arc::clone(world),
            condition: Mutex::default(),
        })
    }

    /// An await point: the process may end here, or stand still.
    pub(crate) async fn point(&self, place: &'static str) {
        if self.dice.happens(Fault::Killed) {
            self.world
                .trace
                .note("killed", || format!("{} at {place}", self.name));
            self.end();
            std::future::pending::<()>().await;
        }
        if self.dice.happens(Fault::Stalled) {
            let pause = self.dice.seconds(5..LONGEST_STALL_SECONDS);
            self.world
                .trace
                .note("stalled", || format!("{} at {place} for {pause:?}", self.name));
            self.condition.lock().unwrap().stalled_until = Some(Instant::now() + pause);
            self.hinder(pause);
        }
        while let Some(until) = self.stalled_until() {
            sleep_until(until).await;
        }
    }

    /// Time passes in this process, or in whatever it waits for.
    pub(crate) async fn pause(&self, place: &'static str, time: Duration) {
        tokio::time::sleep(time).await;
        self.point(place).await;
    }

    /// Notes that nobody can expect the process to notice anything for that long.
    pub(crate) fn hinder(&self, time: Duration) {
        let until = Some(Instant::now() + time);
        let mut condition = self.condition.lock().unwrap();
        condition.hindered_until = condition.hindered_until.max(until);
    }

    pub(crate) fn hindered_until(&self) -> Option<Instant> {
        self.condition.lock().unwrap().hindered_until
    }

    fn stalled_until(&self) -> Option<Instant> {
        let until = self.condition.lock().unwrap().stalled_until;
        until.filter(|until| *until > Instant::now())
    }

    fn end(&self) {
        let mut condition = self.condition.lock().unwrap();
        condition.dead = true;
        if let Some(waker) = condition.waker.take() {
            waker.wake();
        }
    }

    fn is_dead(&self, context: &Context<'_>) -> bool {
        let mut condition = self.condition.lock().unwrap();
        condition.waker = Some(context.waker().clone());
        condition.dead
    }

    /// Does the work of the process; `None` when the process ended before, or was ended after `limit`.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>, limit: Option<Duration>) -> Option<T> {
        let mut work = Box::pin(work);
        let mut thaw = pin!(sleep_until(Instant::now()));
        let mut end = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
        poll_fn(move |context| {
            if self.is_dead(context) {
                return Poll::Ready(None);
            }
            if let Some(end) = &mut end
                && end.as_mut().poll(context).is_ready()
            {
                self.world
                    .trace
                    .note("ended by its platform", || self.name.clone());
                self.end();
                return Poll::Ready(None);
            }
            if let Some(until) = self.stalled_until() {
                thaw.as_mut().reset(until);
                if thaw.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            match work.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if self.is_dead(context) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

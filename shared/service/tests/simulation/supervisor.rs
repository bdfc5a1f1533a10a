//! The supervisor as the engine gets it: the real one, with its answers checked, or one that always agrees.

use std::sync::Arc;

use snowpack_domain::{Action, Fence, JobId, Progress, RemoteRun};
use snowpack_service::ports::{ActionStop, Supervisor};

use crate::config::Sabotage;
use crate::world::World;

pub(crate) struct Watched<S> {
    pub(crate) world: Arc<World>,
    pub(crate) job: JobId,
    pub(crate) fence: Fence,
    pub(crate) inner: Arc<S>,
}

impl<S: Supervisor> Supervisor for Watched<S> {
    async fn checkpoint(&self) -> Result<(), ActionStop> {
        let began = self.world.checks.writes();
        if self.world.sabotaged(Sabotage::EngineSkipsCheckpoints) {
            return Ok(());
        }
        if !self.world.sabotaged(Sabotage::SupervisorAlwaysAgrees) {
            self.inner.checkpoint().await?;
        }
        self.world.checks.checkpoint_passed(&self.job, self.fence, began);
        Ok(())
    }

    fn poll(&self) -> Result<(), ActionStop> {
        let deaf = [Sabotage::SupervisorAlwaysAgrees, Sabotage::EngineNeverPolls];
        if deaf.into_iter().any(|sabotage| self.world.sabotaged(sabotage)) {
            return Ok(());
        }
        self.inner.poll()
    }

    fn progress(&self, progress: Progress) {
        self.inner.progress(progress);
    }

    fn remote_run(&self, action: Action) -> Option<RemoteRun> {
        self.inner.remote_run(action)
    }

    fn note(&self, action: Action, text: String) {
        self.inner.note(action, text);
    }

    fn noted(&self, action: Action) -> Option<String> {
        self.inner.noted(action)
    }

    fn seconds_left(&self) -> Option<f64> {
        self.inner.seconds_left()
    }
}

//! The look of a run at the tables: which of them it comes to, and what is due on each.

use futures::stream::{self, StreamExt};
use snowpack_domain::{
    CacheEntry, Candidate, DatabaseName, Drain, Lock, Shortlist, Situation, SkipCause, TableHealth, TableId,
    Timestamp, benefit,
};

use super::{Orchestrator, RunRequest, Tally};
use crate::failure::Failure;
use crate::in_time;
use crate::ports::{Clock, HealthStore, Ids, JobQueue, JobStore, PageRequest, RunStore, Tables};
use crate::sync::{PAGE, list_failure};
use crate::time_limit::TimeLimit;

/// Tables whose health is read at once; as [`crate::sync_health`].
const CONCURRENT_READS: usize = 8;

/// What a look at one table found.
pub(super) enum Look {
    Due(Candidate),
    Healthy,
    /// It wants to be left alone, as was only found out by the look.
    Skipped(SkipCause),
    /// It was dropped since it was cached.
    Gone,
    NoTime(TableId),
    Failed(TableId, Failure),
}

/// Cached tables that a run goes through by name.
enum Scope<'a> {
    All,
    Of(&'a DatabaseName),
    From(&'a TableId),
    Before(&'a TableId),
}

impl Scope<'_> {
    fn includes(&self, table: &TableId) -> bool {
        match self {
            Self::All | Self::Of(_) => true,
            Self::From(start) => table >= start,
            Self::Before(start) => table < start,
        }
    }
}

/// The scopes of a run, in order. A run over all tables begins with `start` and wraps around, so that the tables for
/// which the last one had no time are not always the same.
fn scopes<'a>(request: &'a RunRequest, start: Option<&'a TableId>) -> Vec<Scope<'a>> {
    match start {
        _ if !request.databases.is_empty() => request.databases.iter().map(Scope::Of).collect(),
        Some(start) => vec![Scope::From(start), Scope::Before(start)],
        None => vec![Scope::All],
    }
}

/// A table that is not to be left alone, and what is kept about it.
struct Wanted {
    entry: CacheEntry,
    lock: Lock,
    /// Its health, if what is kept still describes it.
    kept: Option<TableHealth>,
}

impl<S, Q, T, C, I> Orchestrator<S, Q, T, C, I>
where
    S: JobStore + HealthStore + RunStore,
    Q: JobQueue,
    T: Tables,
    C: Clock + Clone,
    I: Ids,
{
    /// Looks at every table asked for, those from `start` on first.
    pub(super) async fn look(
        &self,
        request: &RunRequest,
        start: Option<&TableId>,
        limit: TimeLimit,
        (shortlist, tally): (&mut Shortlist, &mut Tally),
    ) -> Result<(), Failure> {
        let drain = self.store.drain().await?.value;
        if !request.tables.is_empty() {
            let entries = self.named(request, tally).await;
            return self.assess(entries, &drain, limit, (shortlist, tally)).await;
        }
        for scope in scopes(request, start) {
            let (mut found, mut cursor) = (0, None);
            loop {
                let page = self.page(&scope, cursor).await?;
                found += page.items.len();
                let mut entries = page.items;
                entries.retain(|entry| scope.includes(&entry.table));
                self.assess(entries, &drain, limit, (shortlist, tally)).await?;
                cursor = page.next;
                if cursor.is_none() {
                    break;
                }
            }
            if let (Scope::Of(database), 0) = (&scope, found) {
                tally.note(format!("no table of the database {database} is known"));
            }
        }
        Ok(())
    }

    async fn page(
        &self,
        scope: &Scope<'_>,
        cursor: Option<String>,
    ) -> Result<crate::ports::Page<CacheEntry>, Failure> {
        let page = PageRequest { limit: PAGE, cursor };
        let database = match scope {
            Scope::Of(database) => Some(database.as_str()),
            Scope::All | Scope::From(_) | Scope::Before(_) => None,
        };
        self.store
            .cache_entries(database, &page)
            .await
            .map_err(list_failure)
    }

    /// The entries of the tables that the request names.
    async fn named(&self, request: &RunRequest, tally: &mut Tally) -> Vec<CacheEntry> {
        let is_wanted =
            |table: &&TableId| request.databases.is_empty() || request.databases.contains(&table.database);
        let mut entries = Vec::new();
        for table in request.tables.iter().filter(is_wanted) {
            match self.book.cache().find(table).await {
                Ok(Some(entry)) => entries.push(entry),
                Ok(None) => tally.note(format!("the catalog has no table {table}")),
                Err(error) => tally.note(format!("{table} could not be looked up: {error}")),
            }
        }
        entries
    }

    /// Looks at the health of tables that are not to be left alone, and puts those on which something is due on the
    /// shortlist. Once time is up, the tables are only counted.
    async fn assess(
        &self,
        entries: Vec<CacheEntry>,
        drain: &Drain,
        limit: TimeLimit,
        (shortlist, tally): (&mut Shortlist, &mut Tally),
    ) -> Result<(), Failure> {
        if entries.is_empty() || limit.is_reached() {
            tally.leave(entries.into_iter().map(|entry| entry.table));
            return Ok(());
        }
        let wanted = self.wanted(entries, drain, tally).await?;
        let looks = wanted.into_iter().map(|table| self.look_at(table, limit));
        let mut looks = std::pin::pin!(stream::iter(looks).buffer_unordered(CONCURRENT_READS));
        while let Some(look) = looks.next().await {
            if let Some(candidate) = tally.count(look) {
                shortlist.offer(candidate);
            }
        }
        Ok(())
    }

    /// Counts the tables that are to be left alone; the others with what is kept about them.
    async fn wanted(
        &self,
        entries: Vec<CacheEntry>,
        drain: &Drain,
        tally: &mut Tally,
    ) -> Result<Vec<Wanted>, Failure> {
        let tables: Vec<_> = entries.iter().map(|entry| entry.table.clone()).collect();
        let mut locks = self.store.locks(&tables).await?;
        let now = self.clock.now();
        let mut wanted = Vec::new();
        for entry in entries {
            let lock = locks.remove(&entry.table).unwrap_or_default();
            let situation = Situation {
                entry: &entry,
                lock: &lock,
                drain,
            };
            match self.book.policy().skip_cause(situation, now) {
                Some(cause) => tally.skip(cause),
                None => wanted.push(Wanted {
                    entry,
                    lock,
                    kept: None,
                }),
            }
        }
        let tables: Vec<_> = wanted.iter().map(|wanted| wanted.entry.table.clone()).collect();
        let mut kept = self.store.latest_health(&tables).await?;
        let synced_at = self.store.cache_state().await?.last_synced;
        for wanted in &mut wanted {
            let kept = kept.remove(&wanted.entry.table);
            wanted.kept = kept.filter(|health| self.book.is_fresh(&wanted.entry, health, synced_at));
        }
        Ok(wanted)
    }

    async fn look_at(&self, wanted: Wanted, limit: TimeLimit) -> Look {
        let table = wanted.entry.table.clone();
        if limit.is_reached() {
            return Look::NoTime(table);
        }
        self.try_to_look_at(wanted).await.unwrap_or_else(|error| {
            tracing::warn!(%table, %error, "the table could not be assessed");
            Look::Failed(table, error)
        })
    }

    async fn try_to_look_at(&self, wanted: Wanted) -> Result<Look, Failure> {
        let Wanted {
            mut entry,
            lock,
            kept,
        } = wanted;
        if entry.is_name_only() {
            match self.look_up_again(&entry.table).await? {
                Some(found) => entry = found,
                None => return Ok(Look::Gone),
            }
        }
        let situation = Situation {
            entry: &entry,
            lock: &lock,
            drain: &Drain::default(),
        };
        // Asked again: what was just looked up may want to be left alone.
        if let Some(cause) = self.book.policy().skip_cause(situation, self.clock.now()) {
            return Ok(Look::Skipped(cause));
        }
        let health = match kept {
            Some(health) => Some(health),
            None => self.book.live(&entry.table).await?,
        };
        Ok(match health {
            Some(health) => self.judge(situation, &health, self.clock.now()),
            None => Look::Gone,
        })
    }

    /// The table as the catalog has it now. One of which only the name is known may want to be left alone, so that it is
    /// not judged before what it says was read.
    async fn look_up_again(&self, table: &TableId) -> Result<Option<CacheEntry>, Failure> {
        match in_time::find(self.book.cache().tables(), table).await? {
            Some(entry) if entry.is_name_only() => {
                Err(Failure::Unreadable("its metadata cannot be read".to_owned()))
            }
            found => Ok(found),
        }
    }

    fn judge(&self, situation: Situation<'_>, health: &TableHealth, now: Timestamp) -> Look {
        let advice = self.book.advise(situation, health, now);
        let actions = advice.actions();
        if actions.is_empty() {
            return Look::Healthy;
        }
        let upkeep = &situation.lock.upkeep;
        Look::Due(Candidate {
            table: situation.entry.table.clone(),
            actions,
            benefit: benefit(&advice.recommendations, upkeep, advice.cadence, now),
            last_turn: upkeep.last_turn(),
        })
    }
}

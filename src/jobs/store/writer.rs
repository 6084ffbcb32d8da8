//! The writer: one task that owns the writing connection and commits in batches.
//!
//! SQLite has one writer, and each commit waits for the disk. Whatever is asked
//! for while a commit is under way goes into the next one together, so that
//! many workers and uploads share the wait.

use futures::future::BoxFuture;
use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, query};
use tokio::sync::{mpsc, oneshot};

use super::super::JobError;
use super::super::fault::{self, Point};

/// Operations that may wait for the writer before their callers have to wait too.
const BACKLOG: usize = 256;
/// Most operations in one transaction.
const MOST_AT_ONCE: usize = 64;

/// A change of the job table.
pub(super) trait Operation: Send + Sync + 'static {
    /// What the caller learns once the change is on disk.
    type Output: Send + 'static;

    /// Makes the change. Called again if the transaction had to be rolled back, so
    /// whatever is to be remembered goes into the output. An error rolls back; a
    /// refusal belongs into the output.
    fn apply(
        &self,
        table: &mut SqliteConnection,
    ) -> impl Future<Output = Result<Self::Output, JobError>> + Send;
}

/// The way to the writer. The task ends when the last of these is gone.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Box<dyn Queued>>);

impl Writer {
    /// Starts the task on `connection`.
    pub fn start(connection: SqliteConnection) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        tokio::spawn(write(connection, receiver));
        Self(sender)
    }

    /// Makes a change. When this returns, it is on disk.
    ///
    /// # Errors
    /// When the table or the disk fails; nothing is changed then.
    pub async fn run<O: Operation>(&self, operation: O) -> Result<O::Output, JobError> {
        let (reply, answer) = oneshot::channel();
        let queued = Box::new(Pending { operation, output: None, reply });
        self.0.send(queued).await.map_err(|_| JobError::Closed)?;
        answer.await.map_err(|_| JobError::Closed)?
    }
}

/// An operation that waits, whatever its output.
trait Queued: Send {
    fn apply<'a>(
        &'a mut self,
        table: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<(), JobError>>;

    /// Tells the caller how the transaction ended.
    fn answer(self: Box<Self>, committed: Result<(), JobError>);
}

struct Pending<O: Operation> {
    operation: O,
    output: Option<O::Output>,
    reply: oneshot::Sender<Result<O::Output, JobError>>,
}

impl<O: Operation> Queued for Pending<O> {
    fn apply<'a>(
        &'a mut self,
        table: &'a mut SqliteConnection,
    ) -> BoxFuture<'a, Result<(), JobError>> {
        Box::pin(async move {
            self.output = Some(self.operation.apply(table).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), JobError>) {
        let Self { output, reply, .. } = *self;
        let answer = committed.and_then(|()| output.ok_or(JobError::Closed));
        // A caller that no longer waits has no use for the answer.
        let _ = reply.send(answer);
    }
}

async fn write(mut connection: SqliteConnection, mut queue: mpsc::Receiver<Box<dyn Queued>>) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, MOST_AT_ONCE).await > 0 {
        if let [_] = batch.as_slice() {
            commit_each(&mut connection, &mut batch).await;
        } else if commit(&mut connection, &mut batch).await.is_ok() {
            batch.drain(..).for_each(|operation| operation.answer(Ok(())));
        } else {
            // One of them is at fault: each alone, so that each gets its own answer.
            commit_each(&mut connection, &mut batch).await;
        }
    }
    let _ = connection.close().await;
}

async fn commit_each(connection: &mut SqliteConnection, batch: &mut Vec<Box<dyn Queued>>) {
    for mut operation in batch.drain(..) {
        let committed = commit(connection, std::slice::from_mut(&mut operation)).await;
        operation.answer(committed);
    }
}

async fn commit(
    connection: &mut SqliteConnection,
    batch: &mut [Box<dyn Queued>],
) -> Result<(), JobError> {
    // Not sqlx's `begin`: it keeps count of open transactions, and SQLite ends one by itself
    // when the disk is full, after which every further `begin` would be refused.
    query("BEGIN IMMEDIATE").execute(&mut *connection).await?;
    let committed = apply_and_commit(connection, batch).await;
    if committed.is_err() {
        // This fails where SQLite has rolled back already, which is just as well.
        let _ = query("ROLLBACK").execute(connection).await;
    }
    committed
}

async fn apply_and_commit(
    connection: &mut SqliteConnection,
    batch: &mut [Box<dyn Queued>],
) -> Result<(), JobError> {
    for operation in batch {
        operation.apply(connection).await?;
    }
    fault::reach(Point::BeforeCommit).map_err(JobError::io("committing"))?;
    query("COMMIT").execute(connection).await?;
    fault::reach(Point::Committed).map_err(JobError::io("committing"))
}

//! The migrations, embedded. Built by hand because sqlx's macro would compile SQLite twice.

use std::borrow::Cow;

use sqlx::SqlStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// Brings a job table of any earlier version up to date.
pub(super) fn migrator() -> Migrator {
    let migrations = [
        (1, "jobs", include_str!("../../../migrations/0001_jobs.sql")),
        (2, "versions", include_str!("../../../migrations/0002_versions.sql")),
        (3, "search", include_str!("../../../migrations/0003_search.sql")),
        (4, "idempotency", include_str!("../../../migrations/0004_idempotency.sql")),
    ];
    let migrations = migrations.map(|(version, name, sql)| {
        let sql = SqlStr::from_static(sql);
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    });
    Migrator { migrations: Cow::Owned(migrations.into()), ..Migrator::DEFAULT }
}

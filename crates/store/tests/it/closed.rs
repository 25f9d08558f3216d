//! Settings that cannot be read.

use std::time::Duration;

use nuncio_model::rights::Rights;
use nuncio_model::{NamespaceSettings, ProjectName};
use nuncio_store::{Directory, NewApiKey};
use tokio::time::timeout;

use crate::kit::{Kit, add_project, kit};

/// Rows of the project that cannot be read: how each comes about, and how it goes.
const ROWS: [(&str, &str, &str); 6] = [
    (
        "the defaults of project",
        "update projects set defaults = '{\"retentionSeconds\": \"?\"}' where id = $P",
        "update projects set defaults = (select defaults from projects where name = 'other') where id = $P",
    ),
    (
        "the settings of namespace",
        "insert into namespaces (project_id, name, settings) values ($P, 'bad', '{\"maxEventBytes\": 1e400}')",
        "delete from namespaces where name = 'bad'",
    ),
    (
        "rate limit",
        "insert into rate_limits (project_id, settings) values ($P, '[]')",
        "delete from rate_limits where project_id = $P",
    ),
    (
        "the rights of key",
        "update api_keys set rights = '{\"subscribe\": [\"a..b\"]}' where project_id = $P",
        "update api_keys set rights = '{\"subscribe\": [\"a\"]}' where project_id = $P",
    ),
    (
        "the networks of key",
        "update api_keys set allowed_networks = '{nowhere}' where project_id = $P",
        "update api_keys set allowed_networks = '{}' where project_id = $P",
    ),
    (
        "revocation",
        "insert into revocations (project_id, kind, action, pattern, issued_before, reason)
         values ($P, 'right', 'subscribe', 'a..b', now(), '')",
        "delete from revocations where project_id = $P",
    ),
];

async fn run(kit: &Kit, sql: &str) {
    let sql = sql.replace("$P", &kit.project.0.to_string());
    kit.database.run(&sql).await.expect("the database answers");
}

async fn until_open(directory: &Directory, kit: &Kit) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let open = async {
        while directory.snapshot().closed(kit.project).is_some() {
            looks.tick().await;
            directory.refresh().await.expect("it is read");
        }
    };
    timeout(Duration::from_secs(20), open).await.expect("in time");
}

/// One row that could not be read once kept a node from learning of any change in any project, and from starting.
#[tokio::test]
async fn a_row_that_cannot_be_read_closes_its_own_project_until_it_is_mended() {
    let kit = kit().await;
    let other = add_project(&kit.store, "other").await;
    let new = NewApiKey { rights: Rights::everything(), ..NewApiKey::default() };
    let (_, key) = kit.store.create_api_key(kit.project, &new).await.expect("it is made");
    let (_, others) = kit.store.create_api_key(other, &new).await.expect("it is made");
    let directory = Directory::load(kit.store.clone()).await.expect("it is read");
    let name = ProjectName::parse("demo").expect("a good name");
    for (number, (row, breaks, mends)) in ROWS.into_iter().enumerate() {
        run(&kit, breaks).await;
        // A change of another project, which is learned of.
        let namespace = format!("n{number}");
        let own = NamespaceSettings { retention_events: Some(5), ..Default::default() };
        kit.store.create_namespace(other, &namespace, &own).await.expect("it is new");
        directory.refresh().await.expect("it is read");
        let again = Directory::load(kit.store.clone()).await.expect("a node starts");
        for snapshot in [directory.snapshot(), again.snapshot()] {
            let closed = snapshot.closed(kit.project).expect("it is closed");
            let [found] = closed.unreadable.iter().collect::<Vec<_>>()[..] else { panic!("{closed:?}") };
            assert!(found.starts_with(row), "{found}");
            assert!(snapshot.project_by_id(kit.project).is_none() && snapshot.project(&name).is_none());
            assert!(snapshot.edition(kit.project).is_none());
            assert!(snapshot.api_key(key.expose()).is_none() && snapshot.closed_by_api_key("nk_").is_none());
            assert_eq!(snapshot.closed_by_api_key(key.expose()), Some(closed));
            assert_eq!(snapshot.closed_by_audience("nuncio:demo"), Some((kit.project, closed)));
            let untouched = snapshot.project_by_id(other).expect("it is open");
            assert!(untouched.namespaces.contains_key(&namespace));
            assert!(snapshot.api_key(others.expose()).is_some() && snapshot.all_closed().count() == 1);
        }
        run(&kit, mends).await;
        until_open(&directory, &kit).await;
        let snapshot = directory.snapshot();
        assert!(snapshot.project(&name).is_some() && snapshot.api_key(key.expose()).is_some(), "{row}");
        assert!(snapshot.closed_by_api_key(key.expose()).is_none());
    }
}

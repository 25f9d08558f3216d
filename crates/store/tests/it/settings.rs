//! Settings, keys, dead letters and nodes.

use std::time::Duration;

use bytes::Bytes;
use nuncio_model::revocation::Ended;
use nuncio_model::rights::{Rights, TokenProof};
use nuncio_model::{Action, Channel, NamespaceSettings, ProjectName, Revoked, Secret};
use nuncio_store::{
    AbandonedTopology, DeadLetterFilter, DeadLetterOrder, Directory, Error, Fate, KeyMaterial, NewApiKey,
    NewDeadLetter, NewRevocation, NodeCard, NodeState, ProjectChange, Role,
};

use crate::kit::{add_project, kit};

#[tokio::test]
async fn the_directory_learns_of_every_change() {
    let kit = kit().await;
    let directory = Directory::load(kit.store.clone()).await.expect("it is read");
    let channel = Channel::parse("chat.room").expect("a good name");
    let settings = || {
        let snapshot = directory.snapshot();
        snapshot.project_by_id(kit.project).expect("it is there").settings(&channel).clone()
    };
    assert_eq!(settings(), NamespaceSettings::default());
    let own = NamespaceSettings { retention_events: Some(5), ..Default::default() };
    kit.store.create_namespace(kit.project, "chat", &own).await.expect("it is new");
    assert!(matches!(kit.store.create_namespace(kit.project, "chat", &own).await, Err(Error::Exists(_))));
    directory.refresh().await.expect("it is read");
    assert_eq!(settings(), own);
    let version = kit.store.namespace(kit.project, "chat").await.expect("it is there").version;
    let stale = kit.store.delete_namespace(kit.project, "chat", Some(version - 1)).await;
    assert!(matches!(stale, Err(Error::Changed(_))));
    kit.store.delete_namespace(kit.project, "chat", Some(version)).await.expect("the version is right");
    directory.refresh().await.expect("it is read");
    assert_eq!(settings(), NamespaceSettings::default());
    let change = ProjectChange { audience: Some("app".to_owned()), ..Default::default() };
    let changed = kit.store.update_project(kit.project, |_| Ok::<_, Error>(change)).await;
    assert_eq!(changed.expect("it is there").version, 2);
    directory.refresh().await.expect("it is read");
    let snapshot = directory.snapshot();
    assert_eq!(snapshot.project_by_audience("app").expect("it is there").id, kit.project);
    assert_eq!(snapshot.project_by_audience("nuncio:demo").expect("it is there").id, kit.project);
    assert!(snapshot.project_by_audience("demo").is_none());
    kit.store.delete_project(kit.project, None).await.expect("it is there");
    directory.refresh().await.expect("it is read");
    assert!(directory.snapshot().project(&ProjectName::parse("demo").expect("a good name")).is_none());
}

/// What a deleted project leaves in RabbitMQ is remembered until somebody has seen to it, and is another's where a new
/// project has its name.
#[tokio::test]
async fn what_a_deleted_project_leaves_is_remembered() {
    let kit = kit().await;
    let left = async || kit.store.abandoned_topologies().await.expect("an answer");
    assert!(matches!(kit.store.delete_project(kit.project, Some(7)).await, Err(Error::Changed(_))));
    assert_eq!((left().await, kit.store.has_project(kit.project).await.expect("an answer")), (vec![], true));
    kit.store.delete_project(kit.project, Some(1)).await.expect("it is there");
    assert!(!kit.store.has_project(kit.project).await.expect("an answer"));
    let name = ProjectName::parse("demo").expect("a good name");
    let topology = AbandonedTopology { project: kit.project, name };
    assert_eq!(left().await, std::slice::from_ref(&topology));
    let fate = async || kit.store.fate_of(&topology).await.expect("an answer");
    assert_eq!(fate().await, Fate::Remove);
    add_project(&kit.store, "demo").await;
    assert_eq!(fate().await, Fate::Inherited);
    kit.store.forget_topology(kit.project).await.expect("it is forgotten");
    assert_eq!((fate().await, left().await), (Fate::Settled, vec![]));
}

#[tokio::test]
async fn keys_open_while_they_are_in_force() {
    let kit = kit().await;
    let other = add_project(&kit.store, "other").await;
    let new = NewApiKey { label: "backend".to_owned(), rights: Rights::everything(), ..NewApiKey::default() };
    let (key, text) = kit.store.create_api_key(kit.project, &new).await.expect("it is made");
    assert!(text.expose().starts_with(&key.prefix) && key.prefix.starts_with("nk_"));
    let directory = Directory::load(kit.store.clone()).await.expect("it is read");
    let snapshot = directory.snapshot();
    let (found, project) = snapshot.api_key(text.expose()).expect("it is in force");
    assert_eq!((found.id, project.id), (key.id, kit.project));
    assert!(found.rights.allow(Action::Publish, &Channel::parse("a").expect("a good name")));
    for wrong in
        [&key.prefix, "", "nk_", &format!("{}x", text.expose()), &format!("{}{}", key.prefix, "y".repeat(41))]
    {
        assert!(snapshot.api_key(wrong).is_none(), "{wrong}");
    }
    assert!(
        matches!(kit.store.revoke_api_key(other, key.id).await, Err(Error::NotFound(_))),
        "of another project"
    );
    kit.store.revoke_api_key(kit.project, key.id).await.expect("it is there");
    directory.refresh().await.expect("it is read");
    assert!(directory.snapshot().api_key(text.expose()).is_none());

    let admin = kit.store.create_admin_key("ops", Role::Viewer).await.expect("it is made");
    directory.refresh().await.expect("it is read");
    assert_eq!(directory.snapshot().admin_key(admin.expose()).expect("it is in force").role, Role::Viewer);
    let short = kit.store.ensure_admin_key(&Secret::new("na_short"), "first", Role::Owner).await;
    assert!(short.is_err());

    kit.store
        .create_signing_key(kit.project, "main", "HS256", &Secret::new("hush"))
        .await
        .expect("it is new");
    directory.refresh().await.expect("it is read");
    let snapshot = directory.snapshot();
    let key = &snapshot.project_by_id(kit.project).expect("it is there").signing_keys[0];
    assert_eq!(key.material, KeyMaterial::Secret(Secret::new("hush")));
    let raw = kit
        .database
        .run("select encode(secret, 'escape') from signing_keys")
        .await
        .expect("the database answers");
    assert!(!raw.contains("hush"));
}

#[tokio::test]
async fn dead_letters_are_kept_as_they_came() {
    let kit = kit().await;
    let letter = |reason: &'static str| NewDeadLetter {
        reason,
        detail: "why".to_owned(),
        routing_key: "a\0b".to_owned(),
        exchange: "nuncio.demo".to_owned(),
        properties: serde_json::json!({"headers": {"x": "a\u{0}b"}}),
        body: Bytes::from_static(b"\xff\x00"),
    };
    kit.store
        .add_dead_letters(kit.project, vec![letter("bad_channel"), letter("too_large")])
        .await
        .expect("kept");
    let list = async |reason: Option<&str>| {
        let filter = DeadLetterFilter { reason: reason.map(str::to_owned), ..Default::default() };
        let order = DeadLetterOrder::OldestFirst(0);
        kit.store.list_dead_letters(kit.project, order, 10, &filter).await.expect("listed")
    };
    let all = list(None).await;
    assert_eq!(all.iter().map(|l| l.reason.as_str()).collect::<Vec<_>>(), ["bad_channel", "too_large"]);
    assert_eq!((all[0].body_bytes, all[0].body.len()), (2, 0), "a list comes without bodies");
    let one = kit.store.dead_letter(kit.project, all[0].id).await.expect("it is there");
    assert_eq!((one.body_bytes, one.body.as_slice()), (2, b"\xff\x00".as_slice()));
    let some = list(Some("too_large")).await;
    assert_eq!(some.len(), 1);
    kit.store.delete_dead_letter(kit.project, all[0].id).await.expect("it is there");
    assert!(matches!(kit.store.delete_dead_letter(kit.project, 99).await, Err(Error::NotFound(_))));
    assert!(matches!(kit.store.dead_letter(kit.project, all[0].id).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_node_lives_as_long_as_its_heartbeat() {
    let kit = kit().await;
    for (id, role) in [("a", "worker"), ("b", "all"), ("c", "api")] {
        let (id, version) = (id.to_owned(), "0.1.0");
        let card = NodeCard { id, role, version, host: "here".to_owned(), listen: None };
        kit.store.heartbeat_node(&card, &NodeState::default()).await.expect("noted");
    }
    let live = async || kit.store.live_nodes("worker", Duration::from_secs(5)).await.expect("asked");
    assert_eq!(live().await, ["a", "b"]);
    kit.database
        .run("update nodes set heartbeat_at = now() - interval '6 seconds' where id = 'a'")
        .await
        .expect("time passes");
    assert_eq!(live().await, ["b"]);
    kit.store.retire_node("b").await.expect("noted");
    assert_eq!(live().await, [""; 0]);
}

#[tokio::test]
async fn a_change_of_one_project_is_none_of_another_and_revocations_are_known_by_heart() {
    let kit = kit().await;
    let other = add_project(&kit.store, "other").await;
    let directory = Directory::load(kit.store.clone()).await.expect("it is read");
    let edition = async |project| {
        directory.refresh().await.expect("it is read");
        directory.snapshot().edition(project)
    };
    let mut known = vec![edition(kit.project).await];
    let theirs = edition(other).await;
    let new = NewApiKey { rights: Rights::everything(), ..NewApiKey::default() };
    let (key, _) = kit.store.create_api_key(kit.project, &new).await.expect("it is made");
    known.push(edition(kit.project).await);
    let narrow = NewApiKey::default();
    let changed = kit.store.update_api_key(kit.project, key.id, |_| Ok::<_, Error>(narrow)).await;
    changed.expect("it is there");
    known.push(edition(kit.project).await);
    let revoked = Revoked::Token { jti: "t".to_owned() };
    let new = NewRevocation { revoked, reason: String::new(), expires_at: None };
    let made =
        kit.store.create_revocation(kit.project, &new).await.expect("it is made").expect("there is room");
    known.push(edition(kit.project).await);
    assert!(known.windows(2).all(|pair| pair[0].is_some() && pair[0] != pair[1]), "{known:?}");
    assert_eq!(edition(other).await, theirs);
    let token =
        TokenProof { kid: "k".to_owned(), published: false, jti: Some("t".to_owned()), issued_at: None };
    let ended = |project| {
        let snapshot = directory.snapshot();
        snapshot
            .revocations(project)
            .and_then(|all| all.ended("ada", &token, nuncio_model::Clock::system().now()))
    };
    assert_eq!((ended(kit.project), ended(other)), (Some(Ended::Token), None));
    let strange = kit.store.delete_revocation(other, made.id).await;
    assert!(matches!(strange, Err(Error::NotFound(_))));
    kit.store.delete_revocation(kit.project, made.id).await.expect("it is there");
    assert_eq!(edition(kit.project).await, known[2], "what is as it was is judged as it was");
    assert_eq!(ended(kit.project), None);
}

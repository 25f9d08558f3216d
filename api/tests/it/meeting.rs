//! Changes that meet: of those who named no version, none is told that there is another one, and none is lost.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::node::{Answer, Node, Site};

const SHOP: &str = "/admin/v1/projects/shop";
/// How many come at the same time.
const MANY: usize = 50;

async fn send(site: &Site, admin: &str, method: Method, path: &str, body: &Value) -> Answer {
    Answer::of(site.request(method, path, admin).json(body).send().await.expect("an answer")).await
}

/// Whoever sent no `If-Match` could get 412 all the same when two changed one thing in the same moment.
#[tokio::test]
async fn many_who_change_one_thing_at_once_all_have_their_way() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let peer = node.beside().await;
    let path = format!("{SHOP}/namespaces/orders");
    let own = json!({"name": "orders"});
    node.post(&format!("{SHOP}/namespaces"), &node.admin, &own).await.expect(201);
    let changes = (0..MANY).map(async |n| {
        let site = if n % 2 == 0 { &*node } else { &peer.site };
        let body = json!({"schemas": {format!("type.{n}"): {"type": "object"}}});
        send(site, &node.admin, Method::PATCH, &path, &body).await.expect(200);
    });
    join_all(changes).await;
    let after = node.get(&path, &node.admin).await;
    assert_eq!(after.header("etag"), format!("\"{}\"", MANY + 1));
    assert_eq!(after.expect(200)["schemas"].as_object().map(serde_json::Map::len), Some(MANY));
}

/// The same for everything that can be changed: each field by somebody else, on two nodes, again and again.
#[tokio::test]
async fn fields_that_are_changed_at_once_are_all_changed() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let peer = node.beside().await;
    let limit = json!({"scope": "project", "action": "publish", "limit": 9, "periodSeconds": 60});
    node.post(&format!("{SHOP}/rate-limits"), &node.admin, &limit).await.expect(201);
    let key = json!({"algorithm": "HS256", "kid": "k"});
    node.post(&format!("{SHOP}/signing-keys"), &node.admin, &key).await.expect(201);
    let admin = json!({"name": "a", "role": "admin"});
    let admin = node.post("/admin/v1/admin-keys", &node.admin, &admin).await.header("location").to_owned();
    let end = "2100-01-01T00:00:00Z";
    let objects = [
        (SHOP.to_owned(), json!({"audience": "a", "issuer": "i", "allowedOrigins": ["*"]})),
        (format!("{SHOP}/keys/1"), json!({"label": "l", "expiresAt": end, "rights": {"publish": ["a"]}})),
        (format!("{SHOP}/rate-limits/1"), json!({"limit": 10, "periodSeconds": 30, "burst": 7})),
        (format!("{SHOP}/signing-keys/k"), json!({"expiresAt": end})),
        (admin, json!({"name": "b", "role": "viewer", "expiresAt": end})),
    ];
    for (path, fields) in objects {
        let fields = fields.as_object().expect("fields").clone();
        let each = fields.iter().cycle().take(12).enumerate();
        join_all(each.map(async |(n, (name, value))| {
            let site = if n % 2 == 0 { &*node } else { &peer.site };
            send(site, &node.admin, Method::PATCH, &path, &json!({name: value})).await.expect(200);
        }))
        .await;
        let after = node.get(&path, &node.admin).await.expect(200);
        for (name, value) in fields {
            let is_there = match (&after[&name], &value) {
                (Value::Object(there), Value::Object(set)) => {
                    set.iter().all(|(name, value)| there[name] == *value)
                }
                (there, set) => there == set,
            };
            assert!(is_there, "{path} {name}: {after}");
        }
    }
}

#[tokio::test]
async fn of_two_who_delete_one_thing_the_second_finds_it_gone() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let peer = node.beside().await;
    for (list, new, path) in [
        (format!("{SHOP}/namespaces"), json!({"name": "orders"}), format!("{SHOP}/namespaces/orders")),
        ("/admin/v1/projects".to_owned(), json!({"name": "bank"}), "/admin/v1/projects/bank".to_owned()),
    ] {
        for _ in 0..5 {
            node.post(&list, &node.admin, &new).await.expect(201);
            let nothing = json!({});
            let delete = |site| send(site, &node.admin, Method::DELETE, &path, &nothing);
            let both = [delete(&node), delete(&peer.site)];
            let mut found: Vec<_> =
                join_all(both).await.iter().map(|answer| answer.status.as_u16()).collect();
            found.sort_unstable();
            assert_eq!(found, [204, 404], "{path}");
        }
    }
}

/// A key that had a successor was given a second one by whoever asked again, or in the same moment: two secrets were about,
/// and one of them was nobody's.
#[tokio::test]
async fn a_key_has_one_successor_however_many_ask_for_one() {
    let node = Node::start().await;
    node.tenant("shop").await;
    let peer = node.beside().await;
    let admin = node.post("/admin/v1/admin-keys", &node.admin, &json!({"name": "a", "role": "admin"})).await;
    let keys =
        [format!("{SHOP}/keys/1"), format!("{SHOP}/signing-keys/main"), admin.header("location").to_owned()];
    for path in keys {
        let rotate = format!("{path}:rotate");
        let ask = async |n: usize| {
            let site = if n.is_multiple_of(2) { &*node } else { &peer.site };
            let request =
                site.request(Method::POST, &rotate, &node.admin).header("idempotency-key", format!("{n}"));
            (n, Answer::of(request.json(&json!({})).send().await.expect("an answer")).await)
        };
        let (made, refused): (Vec<_>, Vec<_>) =
            join_all((0..8).map(ask)).await.into_iter().partition(|(_, answer)| answer.status == 201);
        let [(first, made)] = made.as_slice() else { panic!("{path}: {} successors", made.len()) };
        let successor = made.header("location").rsplit('/').next().expect("a last part").to_owned();
        for (_, answer) in refused {
            let problem = answer.expect_problem(409, "CONFLICT");
            assert!(
                problem["detail"].as_str().is_some_and(|text| text.contains(&successor)),
                "{path} {problem}"
            );
        }
        let (_, again) = ask(*first).await;
        assert_eq!(
            (again.status, &again.text),
            (made.status, &made.text),
            "the first answer, its secret too"
        );
        // One whose secret was lost is revoked, and another takes its place.
        let lost = format!("{}:revoke", made.header("location"));
        node.post(&lost, &node.admin, &json!({})).await.expect(200);
        node.post(&rotate, &node.admin, &json!({})).await.expect(201);
        node.post(&rotate, &node.admin, &json!({})).await.expect_problem(409, "CONFLICT");
    }
}

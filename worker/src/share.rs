//! Who does what: workers share the projects by rendezvous hashing.
//!
//! Every worker comes to the same answer from the list of those alive, and when one goes, only its projects move. The
//! lists of two workers may differ for some seconds; the queue's single active consumer is the fence then.

use std::hash::{DefaultHasher, Hash, Hasher};

use nuncio_model::ProjectId;

/// The node that serves this project; `None` where there are none.
pub(crate) fn owner(project: ProjectId, nodes: &[String]) -> Option<&str> {
    nodes.iter().map(String::as_str).max_by_key(|node| (weight(project, node), *node))
}

/// Equal in every process of one version of Nuncio: this hasher has fixed keys.
fn weight(project: ProjectId, node: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (project.0, node).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_projects_of_a_lost_node_move() {
        let all: Vec<String> = (0..4).map(|n| format!("node-{n}")).collect();
        let fewer = &all[..3];
        let mut moved = 0;
        for project in (0..1_000).map(ProjectId) {
            let before = owner(project, &all).expect("there are nodes");
            let after = owner(project, fewer).expect("there are nodes");
            assert!(before == after || before == "node-3");
            moved += usize::from(before != after);
        }
        assert!((150..350).contains(&moved), "{moved}");
        assert_eq!(owner(ProjectId(1), &[]), None);
    }
}

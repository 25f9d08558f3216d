//! What api nodes ask each other. They do not know each other's addresses, so that a question is a row that all of them
//! look for, and each answer another one.

use nuncio_model::ProjectId;
use sqlx::FromRow;

use crate::{Result, Store};

/// What was not closed by whoever asked, since that is gone, is swept with the next question.
const ASK: &str = "
    with swept as (delete from errands where asked_at < now() - interval '1 minute')
    insert into errands (project_id, asked_by, request) values ($1, $2, $3) returning id";

/// Not by a number higher than the last that was seen: numbers do not appear in their order. A question that nobody waits
/// for any more is left alone.
const OPEN: &str = "
    select e.id, e.project_id, e.request from errands e
    where e.asked_by <> $1 and e.asked_at > now() - interval '4 seconds'
        and not exists (select from errand_answers a where a.errand = e.id and a.node = $1)
    order by e.id limit 16";

const ANSWER: &str = "
    insert into errand_answers (errand, node, answer) select id, $2, $3 from errands where id = $1 for key share
    on conflict do nothing";

const ANSWERS: &str = "select node, answer from errand_answers where errand = $1 and node <> all($2)";

/// A question of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errand {
    /// Its number.
    pub id: i64,
    /// The project it is about.
    pub project: ProjectId,
    /// What is asked, in the words of whoever asks.
    pub request: String,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    project_id: i32,
    request: String,
}

impl Store {
    /// Asks all other nodes something about a project; the number of the question.
    ///
    /// # Errors
    /// Where the database cannot be asked, or the project is gone.
    pub async fn ask_nodes(&self, project: ProjectId, asked_by: &str, request: &str) -> Result<i64> {
        let asked = sqlx::query_scalar(ASK).bind(project.0).bind(asked_by).bind(request);
        Ok(asked.fetch_one(&self.append).await?)
    }

    /// The questions of others that this node has not answered, at most 16.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn open_errands(&self, node: &str) -> Result<Vec<Errand>> {
        let rows: Vec<Row> = sqlx::query_as(OPEN).bind(node).fetch_all(&self.append).await?;
        let errand =
            |row: Row| Errand { id: row.id, project: ProjectId(row.project_id), request: row.request };
        Ok(rows.into_iter().map(errand).collect())
    }

    /// Answers a question. Where nobody waits for the answer any more, nothing happens.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn answer_errand(&self, id: i64, node: &str, answer: &str) -> Result<()> {
        sqlx::query(ANSWER).bind(id).bind(node).bind(answer).execute(&self.append).await?;
        Ok(())
    }

    /// The answers of nodes that are not among those heard already: node and answer.
    ///
    /// # Errors
    /// Where the database cannot be asked.
    pub async fn errand_answers(&self, id: i64, heard: &[String]) -> Result<Vec<(String, String)>> {
        Ok(sqlx::query_as(ANSWERS).bind(id).bind(heard).fetch_all(&self.append).await?)
    }

    /// Waits for no more answers.
    ///
    /// # Errors
    /// Where the database cannot be asked; it is then swept within a minute.
    pub async fn close_errand(&self, id: i64) -> Result<()> {
        sqlx::query("delete from errands where id = $1").bind(id).execute(&self.append).await?;
        Ok(())
    }
}

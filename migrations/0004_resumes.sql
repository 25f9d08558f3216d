-- How far clients are known to have received that come back with a resume id. key is a hash of subject, operation and
-- id; owner one of the subject. claim is raised by each connection that takes the id up. seen_at moves once an hour at
-- most and claimed_at with the claim alone, so that a place is moved on without touching an index (HOT).
create table resumes (
    project_id integer     not null references projects on delete cascade,
    key        bytea       not null,
    owner      bytea       not null,
    claim      bigint      not null default 1,
    claimed_at timestamptz not null default now(),
    seen_at    timestamptz not null default now(),
    epoch      integer,
    position   bigint,
    primary key (project_id, key)
) with (fillfactor = 50);
create index resumes_by_owner on resumes (project_id, owner, seen_at);
create index resumes_claimed on resumes (claimed_at) where claim > 1;
create index resumes_seen on resumes (seen_at);

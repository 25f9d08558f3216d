-- How often what may be done. Which buckets there are of a limit depends on its scope: one for each key, for instance.
create table rate_limits (
    id         bigint      generated always as identity primary key,
    project_id integer     not null references projects on delete cascade,
    settings   jsonb       not null,
    created_at timestamptz not null default now(),
    version    bigint      not null default 1
);
create index rate_limits_by_project on rate_limits (project_id, id);

-- What all nodes together have spent of each bucket in use: tat is the theoretical arrival time of the generic cell rate
-- algorithm. key is a hash of limit, version and whoever it is for. spent is what the last report added, in seconds.
-- Nothing here is worth a write to the disk: what a crash forgets is one burst for everybody.
create unlogged table rate_buckets (
    key   bytea            primary key,
    tat   timestamptz      not null,
    spent double precision not null
) with (fillfactor = 50);

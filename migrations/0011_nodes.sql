-- What the nodes say of themselves, what they ask each other, and how much each project uses.

-- projects are those that a worker serves now. left_at is set by a node that ended in an orderly way: nothing has to
-- wait for its heartbeat to grow old.
alter table nodes
    add column host        text        not null default '',
    add column listen      text,
    add column connections integer     not null default 0,
    add column projects    integer[]   not null default '{}',
    add column paused      boolean     not null default false,
    add column left_at     timestamptz;

-- What an api node asks all others, since only they know their connections. Empty but for the seconds in which somebody
-- waits for an answer.
create table errands (
    id         bigint      generated always as identity primary key,
    project_id integer     not null references projects on delete cascade,
    asked_by   text        not null,
    asked_at   timestamptz not null default now(),
    request    text        not null
);

create table errand_answers (
    errand bigint not null references errands on delete cascade,
    node   text   not null,
    answer text   not null,
    primary key (errand, node)
);

-- What a project used on a day (UTC). Nodes count in memory and add to it.
create table project_usage (
    project_id         integer not null references projects on delete cascade,
    day                date    not null,
    events             bigint  not null default 0,
    event_bytes        bigint  not null default 0,
    deliveries         bigint  not null default 0,
    connections_opened bigint  not null default 0,
    peak_connections   bigint  not null default 0,
    primary key (project_id, day)
);

-- The number of the last count that a node has added: one that it sends again, not knowing whether it arrived, is not
-- added again.
create table usage_writers (
    node    text        primary key,
    number  bigint      not null,
    said_at timestamptz not null default now()
);

-- How many connections a node had open at most since it last said so; those of all nodes together make the peak.
create table usage_open (
    project_id integer     not null references projects on delete cascade,
    node       text        not null,
    open       bigint      not null,
    said_at    timestamptz not null default now(),
    primary key (project_id, node)
);

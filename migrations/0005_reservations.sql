-- Streams of GraphQL over SSE in single connection mode, and the operations that are asked for on them: any node may take
-- the request that starts one, and the node that holds the stream carries it out.

-- The nodes that hold such streams; what belongs to one that is gone goes with it.
create table stream_holders (
    id      text        primary key,
    seen_at timestamptz not null default now()
);

-- key is a hash of the token, owner one of whom it was given to. holder is null until the stream is open.
create table reservations (
    key        bytea       primary key,
    project_id integer     not null references projects on delete cascade,
    owner      bytea       not null,
    made_at    timestamptz not null default now(),
    holder     text        references stream_holders on delete cascade
);
create index reservations_waiting on reservations (project_id) where holder is null;
create index reservations_by_holder on reservations (holder);

-- An operation that has not ended. request is null once the holder has taken it.
create table reserved_operations (
    reservation bytea   not null references reservations on delete cascade,
    id          bytea   not null,
    number      bigint  generated always as identity,
    request     bytea,
    stopped     boolean not null default false,
    primary key (reservation, id)
);
create index reserved_operations_due on reserved_operations (number) where request is not null or stopped;

-- The log: projects, their heads, channels, events and what is needed to recognise repeats.

create table projects (
    id              integer generated always as identity primary key,
    name            text        not null unique,
    audience        text        unique,
    allowed_origins text[]      not null default '{}',
    defaults        jsonb       not null,
    created_at      timestamptz not null default now(),
    version         bigint      not null default 1
);

-- One small row per project, updated by every append and never moved (HOT): the project's order is made by its lock.
-- epoch_base is the position at which the current epoch began.
create table heads (
    project_id integer     primary key references projects on delete cascade,
    position   bigint      not null default 0,
    epoch      integer     not null default 1,
    epoch_base bigint      not null default 0,
    stored_at  timestamptz not null default '-infinity'
) with (fillfactor = 20);

-- Everything at or below trimmed_sequence has been removed for readers, whether or not its rows are still there;
-- trimmed_position is the position of the last such event.
create table channels (
    id               bigint      generated always as identity primary key,
    project_id       integer     not null references projects on delete cascade,
    name             text        not null,
    namespace        text        not null,
    sequence         bigint      not null,
    position         bigint      not null default 0,
    first_event_at   timestamptz not null,
    last_event_at    timestamptz not null,
    trimmed_sequence bigint      not null default 0,
    trimmed_position bigint      not null default 0,
    unique (project_id, name)
) with (fillfactor = 70);
create index channels_by_namespace on channels (project_id, namespace);
create index channels_trimmed on channels (project_id, trimmed_position) where trimmed_position > 0;

-- Insert-only. class groups events that are kept for about as long, so that whole partitions can be dropped.
-- kind: 0 no data, 1 JSON, 2 bytes. data holds the bytes that go on the wire.
create table events (
    project_id   integer     not null,
    position     bigint      not null,
    channel_id   bigint      not null,
    sequence     bigint      not null,
    stored_at    timestamptz not null,
    time         timestamptz,
    class        smallint    not null,
    kind         smallint    not null,
    id           text        not null,
    source       text        not null,
    type         text        not null,
    subject      text,
    content_type text,
    extensions   text,
    data         bytea       not null
) partition by list (class);
create index events_by_position on events (project_id, position);
create index events_by_channel on events (channel_id, position);
create table events_days   partition of events for values in (0) partition by range (stored_at);
create table events_weeks  partition of events for values in (1) partition by range (stored_at);
create table events_months partition of events for values in (2) partition by range (stored_at);

-- What is needed to recognise a repeat: forgotten by dropping whole partitions.
create table dedupe (
    identity  uuid        not null,
    position  bigint      not null,
    sequence  bigint      not null,
    digest    bigint      not null,
    stored_at timestamptz not null
) partition by range (stored_at);
create index dedupe_by_identity on dedupe (identity);

-- The server this log lives on. Another system identifier or timeline means that the log may be an older copy.
create table log_origin (
    one               boolean primary key default true check (one),
    system_identifier bigint  not null,
    timeline          integer not null
);

-- The last position stored before a time: 0 where there is none. stored_at never descends as positions rise, so halving
-- the distance finds it in some thirty look-ups.
create function position_before_time(the_project integer, the_time timestamptz) returns bigint
language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint;
    middle bigint;
    found_position bigint;
    found_at timestamptz;
begin
    select position into high from heads where project_id = the_project;
    while low < high loop
        middle := (low + high + 1) / 2;
        -- Positions whose rows were removed lie before those that are there.
        select position, stored_at into found_position, found_at from events
        where project_id = the_project and position >= middle order by position limit 1;
        if found_at is null or found_at >= the_time then
            high := middle - 1;
        else
            low := found_position;
        end if;
    end loop;
    return coalesce(low, 0);
end $$;

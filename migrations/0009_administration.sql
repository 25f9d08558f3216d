-- Who may administrate what, who changed what, and answers that can be given again.

-- Null stands for all projects. Numbers of projects are never used again, so that one that is gone opens nothing.
-- configured: given as NUNCIO_ADMIN_KEY; another value there takes its place.
alter table admin_keys
    add column projects     integer[],
    add column configured   boolean not null default false,
    add column rotated_from bigint references admin_keys,
    add column version      bigint not null default 1;

-- Networks in CIDR form from which a key may be used; empty stands for all.
alter table api_keys
    add column allowed_networks text[] not null default '{}',
    add column rotated_from     bigint references api_keys on delete set null;

-- Who did what. It outlives what it tells of: there are no references, and the project stands here by its name too.
create table audit_log (
    id          bigint      generated always as identity primary key,
    at          timestamptz not null default clock_timestamp(),
    project_id  integer,
    project     text,
    actor       jsonb       not null,
    action      text        not null,
    resource    text        not null,
    resource_id text        not null,
    before      jsonb,
    after       jsonb,
    request_id  text
);
create index audit_log_by_project on audit_log (project_id, id);
create index audit_log_by_name on audit_log (project, id);
create index audit_log_by_time on audit_log (at);

-- Who is at work in this transaction, as Store::begin_as has said; whoever writes past Nuncio has not said it.
create function audit_actor() returns jsonb language sql stable as $$
    select coalesce(nullif(current_setting('nuncio.actor', true), '')::jsonb, '{"kind": "database"}')
$$;

-- Writes the change of a row to the audit log. Attach it to a table of settings by one line:
--     create trigger audit after insert or update or delete on THE_TABLE for each row
--         execute function audit('the-resource', 'the column that names one in paths', 'more columns', 'to pass over');
-- Columns that hold secrets (hash, secret, private_key) are never written; that they changed is seen by `version`.
-- A change of last_used_at and of the columns to pass over alone is none.
create function audit() returns trigger language plpgsql as $$
declare
    secrets constant text[] := array['hash', 'secret', 'private_key'];
    passed_over constant text[] := array['last_used_at'] || tg_argv[2:];
    was jsonb := case when tg_op <> 'INSERT' then to_jsonb(old) - passed_over end;
    now_is jsonb := case when tg_op <> 'DELETE' then to_jsonb(new) - passed_over end;
    either jsonb := coalesce(now_is, was);
    its_project integer := case when tg_table_name = 'projects' then either->>'id' else either->>'project_id' end;
    its_name text := case when tg_table_name = 'projects' then either->>'name' end;
    who constant jsonb := audit_actor();
begin
    if was = now_is then
        return null;
    end if;
    if tg_table_name = 'admin_keys' then
        was := audit_names(was);
        now_is := audit_names(now_is);
    end if;
    if its_project is not null and its_name is null then
        select name into its_name from projects where id = its_project;
        -- It goes with its project, whose own entry tells of that.
        if not found and tg_op = 'DELETE' then
            return null;
        end if;
    end if;
    insert into audit_log (project_id, project, actor, action, resource, resource_id, before, after, request_id)
    values (
        its_project, its_name, who - 'requestId',
        case
            when tg_op = 'INSERT' then 'created'
            when tg_op = 'DELETE' then 'deleted'
            when was ? 'revoked_at' and was->>'revoked_at' is null and now_is->>'revoked_at' is not null then 'revoked'
            else 'changed'
        end,
        tg_argv[0], coalesce(either->>tg_argv[1], ''), was - secrets, now_is - secrets, who->>'requestId');
    return null;
end
$$;

-- The same row with the names of its projects in place of their numbers.
create function audit_names(admin_key jsonb) returns jsonb language sql stable as $$
    select case when jsonb_typeof(admin_key->'projects') = 'array' then jsonb_set(admin_key, '{projects}', (
        select coalesce(jsonb_agg(p.name order by p.name), '[]') from projects p where admin_key->'projects' @> to_jsonb(p.id)))
    else admin_key end
$$;

create trigger audit after insert or update or delete on projects for each row
    execute function audit('projects', 'name');
create trigger audit after insert or update or delete on namespaces for each row
    execute function audit('namespaces', 'name');
create trigger audit after insert or update or delete on api_keys for each row
    execute function audit('keys', 'id');
create trigger audit after insert or update or delete on signing_keys for each row
    execute function audit('signing-keys', 'kid');
create trigger audit after insert or update or delete on admin_keys for each row
    execute function audit('admin-keys', 'id');
create trigger audit after insert or update on revocations for each row
    execute function audit('revocations', 'id');
-- Those that have been over for a month are swept, by nobody.
create trigger audit_deletion after delete on revocations for each row
    when (old.expires_at is null or old.expires_at > now() - interval '30 days')
    execute function audit('revocations', 'id');
create trigger audit after insert or update or delete on rate_limits for each row
    execute function audit('rate-limits', 'id');

-- Answers to requests that carried an Idempotency-Key. id is a keyed hash of method, path and that key; answer is
-- encrypted under a key that only the client's admin key and Idempotency-Key together make; null while the first
-- request is at work.
create table idempotent_answers (
    admin_key_id bigint      not null references admin_keys on delete cascade,
    id           bytea       not null,
    fingerprint  bytea       not null,
    claim        bigint      not null default 1,
    started_at   timestamptz not null default clock_timestamp(),
    answer       bytea,
    primary key (admin_key_id, id)
);
create index idempotent_answers_by_age on idempotent_answers (admin_key_id, started_at);
create index idempotent_answers_by_time on idempotent_answers (started_at);

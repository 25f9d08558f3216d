-- Projects that were deleted and whose exchanges and queues are still to be removed from RabbitMQ. A worker does that
-- and takes the row away; without RabbitMQ the rows wait for one.
create table abandoned_topologies (
    project_id integer     primary key,
    name       text        not null,
    deleted_at timestamptz not null default now()
);

-- Those of the projects that were deleted before this are found in the audit log.
insert into abandoned_topologies (project_id, name)
select distinct on (project_id) project_id, project from audit_log
where resource = 'projects' and action = 'deleted' and project_id is not null and project is not null;

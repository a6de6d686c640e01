/**
 * Who wrote for which shard, as Postgres itself saw it: triggers note, for every transaction that changes rows of a
 * shard, the writer (application_name carries the worker), the fence and owner that were stored at that moment, and
 * the order of the commits (a deferred trigger numbers them while the transaction still holds its locks).
 *
 * A row does not carry the fence of its writer. It is the fence of the writer's own last take-over of the shard, which
 * stands in the same log: so a write of a worker that has lost the shard shows as a lower fence after a higher one.
 * Covered: every table of guild state, and session rows. Not covered: two lives of one worker under one name.
 */
import type { Client } from 'pg'

/** Table → the column with the guild. `messages` is written by nobody. */
const TABLES: Readonly<Record<string, string>> = {
  guilds: 'id',
  guilds_persistent: 'id',
  gateway_replay_classes: 'guild_id',
  channels: 'guild_id',
  threads: 'guild_id',
  roles: 'guild_id',
  emojis: 'guild_id',
  members: 'guild_id',
  presence: 'guild_id',
  voice_states: 'guild_id',
  bans: 'guild_id',
  scheduled_events: 'guild_id',
  stage_instances: 'guild_id',
  soundboard_sounds: 'guild_id',
}

/** @param shardCount a guild's rows belong to shard (id >> 22) % count: [Discord Docs/Gateway#sharding]. */
export async function installFenceLog(client: Client, shardCount: number): Promise<void> {
  await client.query(`
    create sequence chaos_commits;
    create table chaos_writes (
      id int8 generated always as identity primary key,
      tx xid8 not null,
      kind text not null,
      writer text not null,
      shard int4 not null,
      fence_epoch int8 not null,
      fence_revision int8 not null,
      owner text not null,
      session_id text,
      sequence int8,
      commit_order int8,
      unique (tx, shard, kind)
    );
    create function chaos_on_commit() returns trigger language plpgsql as $$
    begin
      update chaos_writes set commit_order = nextval('chaos_commits') where id = new.id;
      return null;
    end $$;
    create constraint trigger chaos_commit after insert on chaos_writes
      deferrable initially deferred for each row execute function chaos_on_commit();
    create function chaos_on_session() returns trigger language plpgsql as $$
    begin
      insert into chaos_writes (tx, kind, writer, shard, fence_epoch, fence_revision, owner, session_id, sequence)
      values (
        pg_current_xact_id(),
        case
          when tg_op = 'INSERT' then 'take-over'
          when (old.fence_epoch, old.fence_revision, old.owner) is distinct from
               (new.fence_epoch, new.fence_revision, new.owner) then 'take-over'
          else 'session' end,
        current_setting('application_name'), new.shard, new.fence_epoch, new.fence_revision, new.owner,
        new.session_id, new.sequence)
      on conflict do nothing;
      return null;
    end $$;
    create trigger chaos_session after insert or update on gateway_sessions
      for each row execute function chaos_on_session();
    create function chaos_on_rows() returns trigger language plpgsql as $$
    begin
      execute format(
        'insert into chaos_writes (tx, kind, writer, shard, fence_epoch, fence_revision, owner)
         select distinct pg_current_xact_id(), ''rows'', current_setting(''application_name''),
           stored.shard, stored.fence_epoch, stored.fence_revision, stored.owner
         from (select distinct ((%I >> 22) %% ${shardCount})::int4 as shard from chaos_changed) changed
         join gateway_sessions stored using (shard)
         on conflict do nothing', tg_argv[0]);
      return null;
    end $$;`)
  for (const [table, column] of Object.entries(TABLES)) {
    for (const [event, rows] of [
      ['insert', 'new'],
      ['update', 'new'],
      ['delete', 'old'],
    ]) {
      await client.query(
        `create trigger chaos_${event} after ${event} on ${table}
           referencing ${rows} table as chaos_changed
           for each statement execute function chaos_on_rows('${column}')`,
      )
    }
  }
}

export interface LoggedWrite {
  readonly kind: 'take-over' | 'session' | 'rows'
  readonly writer: string
  readonly shard: number
  readonly fence: readonly [number, number]
  readonly owner: string
  readonly session: string | null
  readonly sequence: number | null
}

/** Committed writes, in the order of their commits. */
export async function readFenceLog(client: Client): Promise<LoggedWrite[]> {
  const { rows } = await client.query<Record<string, string | number | null>>(
    `select kind, writer, shard, fence_epoch, fence_revision, owner, session_id, sequence
     from chaos_writes order by commit_order`,
  )
  return rows.map((row) => ({
    kind: row['kind'] as LoggedWrite['kind'],
    writer: String(row['writer']),
    shard: Number(row['shard']),
    fence: [Number(row['fence_epoch']), Number(row['fence_revision'])],
    owner: String(row['owner']),
    session: row['session_id'] as string | null,
    sequence: row['sequence'] === null ? null : Number(row['sequence']),
  }))
}

/** Sentences about what was written under a lower fence after a higher one. */
export function checkFences(log: readonly LoggedWrite[]): string[] {
  const findings: string[] = []
  const newest = new Map<number, readonly [number, number]>()
  /** `shard worker` → the fence of its last take-over. */
  const held = new Map<string, readonly [number, number]>()
  const sequences = new Map<string, number>()
  for (const [index, write] of log.entries()) {
    const { shard, kind, session, sequence } = write
    const worker = workerOf(write)
    const key = `${shard} ${worker}`
    if (kind === 'take-over') held.set(key, write.fence)
    const fence = held.get(key)
    const highest = newest.get(shard)
    const where = `write ${index} (${kind}) of ${worker} for shard ${shard}`
    if (fence === undefined) findings.push(`${where}: it never took the shard over`)
    else if (highest !== undefined && isLower(fence, highest)) {
      findings.push(`${where}: under fence ${fence.join('.')} after ${highest.join('.')}`)
    } else newest.set(shard, fence)
    if (session === null || sequence === null) continue
    const before = sequences.get(session)
    if (before !== undefined && sequence < before) {
      findings.push(`${where}: sequence ${sequence} of session ${session} after ${before}`)
    }
    sequences.set(session, sequence)
  }
  return findings
}

/** `gateway gateway-w2 sessions` → `gateway-w2`. */
function workerOf({ writer }: LoggedWrite): string {
  return writer.split(' ')[1] ?? writer
}

function isLower(a: readonly [number, number], b: readonly [number, number]): boolean {
  return a[0] < b[0] || (a[0] === b[0] && a[1] < b[1])
}

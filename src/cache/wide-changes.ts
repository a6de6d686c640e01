/**
 * Changes of many rows that one event makes, as sets: a statement serves all guilds of a stage.
 * Ids are strings of 8 characters, pairs of 16; entries of lost shards are left out.
 */
import { idArray } from './binary-array.ts'
import type { ScopedIds, Stage } from './stage.ts'
import { type Table, TABLES } from './tables.ts'

export interface WideStatement {
  /** Prepared under this name. */
  readonly name: string
  readonly text: string
  readonly values: readonly unknown[]
}

/** Tables with everything of a guild; its own row is in `guilds`. */
const GUILD_TABLES = TABLES.map((table) => table.name).filter((name) => name !== 'guilds')

const first = (id: string): string => id.slice(0, 8)
const second = (id: string): string => id.slice(8, 16)

/** What comes before the rows of a stage: whole lists, and the membership of new shards. */
export function* changesBefore(
  stage: Stage,
  fleetName: string,
  lost: ReadonlySet<number>,
): Generator<WideStatement> {
  for (const [shardId, guilds] of stage.filled) {
    if (lost.has(shardId)) continue
    yield {
      name: 'gateway_fill_membership',
      text: `with filled as (
  update gateway_sessions set is_membership_filled = true
  where name = $1 and shard = $2 and not is_membership_filled returning shard
)
insert into guilds_persistent (id, state)
select id, 'backfill' from unnest($3::int8[]) as id where exists (select from filled)
on conflict do nothing`,
      values: [fleetName, shardId, idArray(guilds)],
    }
  }
  for (const [shardId, guilds] of stage.missed) {
    if (lost.has(shardId)) continue
    yield {
      name: 'gateway_miss_guilds',
      text: `update guilds t set ${MISSED} from unnest($1::int8[]) as i (id) where t.id = i.id and ${IS_TRUSTED}`,
      values: [idArray(guilds)],
    }
  }
  for (const [shardId, shardCount] of stage.missedShards) {
    if (lost.has(shardId)) continue
    yield {
      name: 'gateway_miss_shard',
      text: `update guilds t set ${MISSED} where (t.id >> 22) % $2::int8 = $1::int8 and ${IS_TRUSTED}`,
      values: [shardId, shardCount],
    }
  }
  for (const table of TABLES) {
    const guilds = kept(stage.replaced.get(table), lost)
    if (guilds.length > 0) yield replace(table, 'guild_id', guilds, stage, lost)
    const channels = table.name === 'threads' ? kept(stage.replacedThreads, lost) : []
    if (channels.length > 0) yield replace(table, 'parent_id', channels, stage, lost)
  }
}

/** What comes behind them. */
export function* changesAfter(stage: Stage, lost: ReadonlySet<number>): Generator<WideStatement> {
  const channels = kept(stage.closedChannels, lost)
  if (channels.length > 0) {
    yield deletion('channels', 'id', channels)
    yield deletion('threads', 'parent_id', channels)
  }
  const roles = kept(stage.strippedRoles, lost)
  if (roles.length > 0) {
    const values = [idArray(roles.map(first)), idArray(roles.map(second))]
    yield { name: 'gateway_delete_roles', text: DELETE_ROLES, values }
    yield { name: 'gateway_strip_roles', text: STRIP_ROLES, values }
  }
  for (const [guild, { shardId, users }] of stage.wholeMembers) {
    if (lost.has(shardId)) continue
    const values = [idArray([guild]), idArray(users)]
    for (const table of ['members', 'presence', 'voice_states']) {
      yield {
        name: `gateway_whole_members_${table}`,
        text: `delete from ${table} t using unnest($1::int8[]) as i (id)
where t.guild_id = i.id and t.user_id not in (select unnest($2::int8[]))`,
        values,
      }
    }
    yield {
      name: 'gateway_members_complete',
      text: `update guilds t set members_complete = true, members_as_of = now()
from unnest($1::int8[]) as i (id) where t.id = i.id and not t.unavailable`,
      values: [idArray([guild])],
    }
  }
  const hidden = kept(stage.unavailableGuilds, lost)
  if (hidden.length > 0) {
    yield {
      name: 'gateway_hide_guilds',
      text: `update guilds g set unavailable = true, members_complete = false, presences_complete = false
from unnest($1::int8[]) as i (id) where g.id = i.id and not g.unavailable`,
      values: [idArray(hidden)],
    }
  }
  const removed = kept(stage.removedGuilds, lost)
  if (removed.length > 0) {
    for (const name of GUILD_TABLES) yield deletion(name, 'guild_id', removed)
    yield deletion('guilds', 'id', removed)
  }
}

/** Nothing is complete any more; bans begin anew. The first gap since the last GUILD_CREATE counts. */
const MISSED = `gap_at = coalesce(t.gap_at, now()), members_complete = false, presences_complete = false,
  bans_since = case when t.bans_since is not null then now() end`
const IS_TRUSTED = `(t.gap_at is null or t.members_complete or t.presences_complete or t.bans_since < now())`

/** As if every shard had lost events. */
export const MISS_EVERYTHING = `update guilds t set ${MISSED} where ${IS_TRUSTED}`

const DELETE_ROLES = `delete from roles t using unnest($1::int8[], $2::int8[]) as i (guild_id, id)
where t.id = i.id and t.guild_id = i.guild_id`

/** Member objects hold role ids as strings. */
const STRIP_ROLES = `update members t
set data = t.data || jsonb_build_object('roles', (t.data->'roles') - i.roles), last_updated = now() at time zone 'utc'
from (
  select guild_id, array_agg(role_id::text) as roles
  from unnest($1::int8[], $2::int8[]) as i (guild_id, role_id) group by guild_id
) i
where t.guild_id = i.guild_id and jsonb_typeof(t.data->'roles') = 'array' and t.data->'roles' ?| i.roles`

/**
 * Deletes the rows of the guilds (or of the parent channels) that this stage does not put. NOT IN over a
 * query that does not depend on the row is a hashed subplan, whatever the number of rows.
 */
function replace(
  table: Table,
  scope: 'guild_id' | 'parent_id',
  ids: readonly string[],
  stage: Stage,
  lost: ReadonlySet<number>,
): WideStatement {
  const keys = stage.rows.get(table)?.putKeys(lost) ?? []
  const columns = table.columns.slice(0, table.keyCount)
  const key = columns.map((column) => `t.${column}`).join(', ')
  const arrays = columns.map((_, index) => `$${index + 2}::int8[]`).join(', ')
  return {
    name: `gateway_replace_${table.name}_${scope}`,
    text: `delete from ${table.name} t using unnest($1::int8[]) as i (id)
where t.${scope} = i.id and (${key}) not in (select * from unnest(${arrays}))`,
    values: [
      idArray(ids),
      ...columns.map((_, index) => idArray(keys.map(index === 0 ? first : second))),
    ],
  }
}

function deletion(table: string, column: string, ids: readonly string[]): WideStatement {
  return {
    name: `gateway_delete_${table}_${column}`,
    text: `delete from ${table} t using unnest($1::int8[]) as i (id) where t.${column} = i.id`,
    values: [idArray(ids)],
  }
}

/** Ids in ascending order without those of lost shards. */
function kept(ids: ScopedIds | undefined, lost: ReadonlySet<number>): string[] {
  if (ids === undefined) return []
  const result: string[] = []
  for (const [id, shardId] of ids) if (!lost.has(shardId)) result.push(id)
  return result.sort()
}

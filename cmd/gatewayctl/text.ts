/** What gatewayctl prints for people. */
import type {
  GuildReply,
  IdentifiesReply,
  ShardReply,
  SpillsReply,
  StatusReply,
} from './replies.ts'

export function statusText(status: StatusReply): string {
  const { workers, shards } = status
  const ready = shards.filter(({ state }) => state === 'ready').length
  const lines = [
    `fleet ${status.fleet}: ${ready} of ${status.shard_count} shards ready, ${workers.length} ${workers.length === 1 ? 'worker' : 'workers'}`,
  ]
  if (status.stale_because !== '') {
    lines.push(
      `etcd does not answer, workers and owners are as last known: ${status.stale_because}`,
    )
  }
  lines.push(
    '',
    ...table(
      ['WORKER', 'ADDRESS', 'VERSION', 'SHARDS', ''],
      workers.map((worker) => [
        worker.id,
        worker.address === '' ? 'none' : worker.address,
        worker.version,
        worker.shards_max === 0 ? `${worker.shards}` : `${worker.shards} of ${worker.shards_max}`,
        [
          worker.start === 0 && worker.stop === status.shard_count
            ? ''
            : `may have ${worker.start} to ${worker.stop - 1}`,
          worker.is_draining ? 'draining' : '',
          worker.is_waiting ? 'waits: other shard count or intents' : '',
          worker.is_reachable ? '' : 'does not answer',
        ]
          .filter((note) => note !== '')
          .join(', '),
      ]),
    ),
    '',
    ...table(
      ['SHARD', 'WORKER', 'STATE', 'LAG', 'FENCE', 'LAST EVENT', 'EVENTS/S', 'RTT', ''],
      shards.map((shard) => [
        String(shard.shard),
        shard.worker === '' ? '-' : shard.worker,
        shard.state,
        isTold(shard) ? String(shard.lag) : '-',
        isTold(shard) ? `${shard.fence_epoch}/${shard.fence_revision}` : '-',
        age(shard.last_event_age_ms),
        isTold(shard) ? String(shard.event_rate) : '-',
        shard.heartbeat_rtt_ms < 0 ? '-' : `${shard.heartbeat_rtt_ms} ms`,
        [
          shard.moving_to === '' ? '' : `on its way to ${shard.moving_to}`,
          shard.moved_to === '' ? '' : `moved to ${shard.moved_to}`,
        ]
          .filter((note) => note !== '')
          .join(', '),
      ]),
    ),
  )
  return lines.join('\n')
}

export function identifiesText(identifies: IdentifiesReply): string {
  const { total, left, used, reserve, breaker, allowed } = identifies
  const minutes = Math.round(identifies.breaker_window_ms / 60_000)
  const stopped = identifies.workers.filter(({ stopped_by }) => stopped_by !== '')
  return [
    `${left} of ${total} identifies left, ${used} used; the next ${total} in ${age(identifies.reset_after_ms, '')}`,
    `reserve ${reserve}: none is sent below that`,
    `breaker: none is sent once a shard has used ${breaker} in ${minutes} min`,
    ...(allowed === 0 ? [] : [`${allowed} may still pass reserve and breaker`]),
    ...stopped.map(({ worker, stopped_by }) => `stopped by ${stopped_by} on ${worker}`),
    '',
    ...table(
      ['WORKER', 'WAITING', ''],
      identifies.workers.map(({ worker, waiting, stopped_by }) => [
        worker,
        String(waiting),
        stopped_by === '' ? '' : `stopped by ${stopped_by}`,
      ]),
    ),
    ...(identifies.shards.length === 0
      ? []
      : [
          '',
          ...table(
            ['SHARD', `IDENTIFIES IN ${minutes} MIN`],
            identifies.shards.map((shard) => [String(shard.shard), String(shard.identifies)]),
          ),
        ]),
  ].join('\n')
}

export function guildText(guild: GuildReply): string {
  const list = (isComplete: boolean, asOf: string): string => {
    if (isComplete) return `complete, read whole ${asOf}`
    return asOf === '' ? 'not complete' : `not complete, last read whole ${asOf}`
  }
  const where = `guild ${guild.guild_id}: shard ${guild.shard}, worker ${guild.worker === '' ? 'none' : guild.worker}`
  if (guild.state === '') return `${where}\nthe bot is not in it`
  return [
    where,
    `${guild.state} since ${guild.since}`,
    `members: ${list(guild.members_complete, guild.members_as_of)}`,
    `presences: ${list(guild.presences_complete, guild.presences_as_of)}`,
    `bans: ${guild.bans_since === '' ? 'none told' : `those told since ${guild.bans_since}`}`,
    guild.gap_at === ''
      ? 'no event missed since its last GUILD_CREATE'
      : `events missed at ${guild.gap_at}`,
  ].join('\n')
}

export function spillsText({ spills }: SpillsReply): string {
  if (spills.length === 0) return 'nothing lies in a spill'
  return table(
    ['SPILL', 'WORKER', 'DESTINATION', 'SHARD', 'SESSION', 'FROM', 'TO', 'EVENTS', 'AS OF', ''],
    spills.map((row) => [
      row.spill,
      row.worker,
      row.destination,
      String(row.shard),
      row.session,
      String(row.first),
      String(row.last),
      String(row.events),
      row.updated_at,
      row.held_by === '' ? 'no worker that answers has it' : `open on ${row.held_by}`,
    ]),
  ).join('\n')
}

export function lostText(spill: string, { spills }: SpillsReply): string {
  const events = spills.reduce((sum, row) => sum + row.events, 0)
  const shards = new Set(spills.map(({ shard }) => shard)).size
  return `spill ${spill} is lost: ${events} events of ${shards} shards are counted as a gap`
}

function isTold({ state }: ShardReply): boolean {
  return state !== 'unowned' && state !== 'unknown'
}

function age(ms: number, ago = ' ago'): string {
  if (ms < 0) return '-'
  const seconds = ms / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s${ago}`
  if (seconds < 120) return `${Math.round(seconds)} s${ago}`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min${ago}`
  return `${Math.round(seconds / 3600)} h${ago}`
}

/** Columns as wide as their widest cell; the last one ends where it ends. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((cell, column) =>
    rows.reduce((widest, row) => Math.max(widest, row[column]?.length ?? 0), cell.length),
  )
  return [head, ...rows].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

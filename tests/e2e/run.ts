/** A simulated Discord and a gateway process between it and real servers. */
import { Redis } from 'ioredis'
import { Client } from 'pg'
import { startSim, type Sim, type SimOptions } from '../../sim/index.ts'
import { MUTATION_KINDS, type World } from '../../sim/world/index.ts'
import { Program } from '../support/program.ts'
import { until } from '../support/until.ts'
import type { GapLine, LedgerEnd, LedgerIdentify, LedgerLine } from './checker/index.ts'

/** So short that a half-open connection is noticed within a test. */
const HEARTBEAT_INTERVAL_MS = 2500

/** The embedded store takes its time on a machine with other work. */
const READY_MS_MAX = 60_000

export function startDiscord(options: Partial<SimOptions>): Promise<Sim> {
  return startSim({
    heartbeatIntervalMs: HEARTBEAT_INTERVAL_MS,
    heartbeatTimeoutMs: 4 * HEARTBEAT_INTERVAL_MS,
    maxConcurrency: 16,
    ledgerMib: 1024,
    ...options,
  })
}

/** The flags that every gateway of these tests has. */
export function startGateway(
  sim: Sim,
  argv: readonly string[],
  env: Record<string, string> = {},
): Program {
  return new Program(
    'cmd/gateway/main.ts',
    [
      '-prod',
      '-addr=none',
      '-http=127.0.0.1:0',
      '-intents=all',
      '-identify-breaker=50',
      `-discord-api=${sim.apiUrl}`,
      ...argv,
    ],
    { DISCORD_TOKEN: sim.token, ...env },
  )
}

/** Waits until every shard of the gateway said once more that it is ready. */
export function untilReady(gateway: Program, shardCount: number): Promise<true> {
  const find = (): true | null => {
    const ready = new Set(
      gateway
        .logLines()
        .filter(({ msg }) => msg === 'ready')
        .map(({ shardId }) => shardId),
    )
    return ready.size === shardCount ? true : null
  }
  return gateway.waitFor(find, `all ${shardCount} shards ready`, READY_MS_MAX)
}

/** Waits until the simulator has dispatched this many more events, whether somebody reads them or not. */
export function untilEvents(sim: Sim, count: number): Promise<void> {
  const before = sim.ledger.size
  const what = `${count} more events`
  return until(() => sim.ledger.size >= before + count, { timeoutMs: 30_000, what })
}

/** Each kind of change at least once, so that every event that the cache keeps comes. */
export function everyMutation(sim: Sim): void {
  const world = sim.world as World
  for (const kind of MUTATION_KINDS) for (const event of world.mutate(kind)) sim.emit(event)
}

/** Waits until every connected session has taken what was dispatched, and the gateway has acknowledged it. */
export async function untilQuiet(
  sim: Sim,
  acknowledged: () => Promise<ReadonlyMap<string, number>>,
): Promise<void> {
  await until(
    async () => {
      const stored = await acknowledged()
      return sim.sessions.every((session) => stored.get(session.id) === session.sequence)
    },
    { timeoutMs: 30_000, what: 'every event acknowledged' },
  )
}

/** On a connection of its own: the server may have been killed since the last one. */
export async function queryRows<Row extends Record<string, unknown>>(
  url: string,
  sql: string,
): Promise<Row[]> {
  const client = new Client({ connectionString: url })
  // An end of the server shows in the query.
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await client.query<Row>(sql)).rows
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** Session → its acknowledged sequence, as Postgres has it. */
export async function storedSequences(url: string): Promise<Map<string, number>> {
  const rows = await queryRows<{ session_id: string; sequence: string }>(
    url,
    'select session_id, sequence from gateway_sessions where session_id is not null',
  )
  return new Map(rows.map((row) => [row.session_id, Number(row.sequence)]))
}

/** The simulator's side of a run, as the checker reads it. */
export function ledgerOf(sim: Sim): {
  ledger: LedgerLine[]
  ends: LedgerEnd[]
  identifies: LedgerIdentify[]
} {
  if (sim.ledger.dropped > 0) throw new Error('the ledger is too small for this run')
  return {
    ledger: [...sim.ledger.events()],
    ends: [...sim.ledger.ends],
    identifies: [...sim.ledger.identifies],
  }
}

/** What the gateway's log says was lost. */
export function gapLines(...gateways: readonly Program[]): GapLine[] {
  return gateways
    .flatMap((gateway) => gateway.logLines())
    .filter(({ msg }) => msg === 'gap: events are lost')
    .map((line) => ({
      shard: line['shardId'] as number,
      session: line['sessionId'] as string,
      from: line['from'] as number,
      to: line['to'] as number | null,
      cause: line['cause'] as string,
      destination: line['destination'] as string,
    }))
}

/** Every list under the prefix, whole. */
export async function readLists(url: string, prefix: string): Promise<Map<string, Buffer[]>> {
  const redis = new Redis(url)
  try {
    const lists = new Map<string, Buffer[]>()
    for (const key of await redis.keys(`${prefix}*`)) {
      lists.set(key, await redis.lrangeBuffer(key, 0, -1))
    }
    return lists
  } finally {
    redis.disconnect()
  }
}

/**
 * Two that never saw each other's code: the cache and the model of a client are told the same events of a world that
 * changes in every kind, with lost sessions and replays in between, and must end with the same rows.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  memoryCounters,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../../src/base/index.ts'
import {
  createCacheWriter,
  Fleet,
  migrate,
  openDatabase,
  SessionStore,
} from '../../../src/cache/index.ts'
import type { CacheWriter, Database } from '../../../src/cache/index.ts'
import { ALL_INTENTS, INTENTS } from '../../../src/discord/index.ts'
import { MUTATION_KINDS } from '../../../sim/world/index.ts'
import { freshDatabase } from '../../support/postgres.ts'
import type { FreshDatabase } from '../../support/postgres.ts'
import { checkState, describeFindings, expectedStates, readState } from './index.ts'
import type { LedgerLine } from './index.ts'
import { Lifecycle } from './lifecycle.ts'
import { RecordedRun } from './recorded-run.ts'

const CHILD_TABLES = ['scheduled_events', 'soundboard_sounds', 'stage_instances']
const FENCE = { epoch: 1, revision: 1 }

describe('the cache', () => {
  let fresh: FreshDatabase
  let database: Database
  let cache: CacheWriter
  const lost: unknown[] = []

  beforeAll(async () => {
    fresh = await freshDatabase()
    const random = seededRandom(1)
    const deps = { clock: systemClock, random, log: silentLog, counters: memoryCounters() }
    database = await openDatabase({ url: new Secret(fresh.url), name: 'test' }, deps)
    await migrate(database, deps)
    const fleet = await Fleet.open(database, { name: 'test', botUserId: 1n })
    const store = new SessionStore({ database, fleet, owner: 'test', log: silentLog })
    await store.takeOver(0, FENCE)
    cache = await createCacheWriter({
      ...deps,
      database,
      fleet,
      intents: ALL_INTENTS,
      shardCount: 1,
      onFenceLost: (shardId) => lost.push(shardId),
      onGap: (gap) => lost.push(gap),
    })
    cache.claim(0, FENCE)
  })

  afterAll(async () => {
    await cache.close()
    await database.close()
    await fresh.drop()
  })

  test.each([
    { seed: 31, what: 'all intents', intents: ALL_INTENTS, largeThreshold: 250 },
    { seed: 32, what: 'large guilds', intents: ALL_INTENTS, largeThreshold: 50 },
    {
      seed: 33,
      what: 'no presences',
      intents: ALL_INTENTS & ~INTENTS.GUILD_PRESENCES,
      largeThreshold: 50,
    },
    { seed: 34, what: 'hard texts', intents: ALL_INTENTS, largeThreshold: 250, nastyText: true },
  ])('ends where a client’s knowledge ends: $what', async ({ seed, ...options }) => {
    for (const table of ['guilds', 'guilds_persistent', 'channels', 'threads', 'roles', 'emojis']) {
      await database.query(`delete from ${table}`)
    }
    for (const table of ['members', 'voice_states', 'presence', 'bans', ...CHILD_TABLES]) {
      await database.query(`delete from ${table}`)
    }
    const run = new RecordedRun({ seed, guilds: 8, membersMax: 130, ...options })
    for (let round = 0; round < 3; round++) {
      for (const kind of MUTATION_KINDS) run.mutate(kind)
      run.step(300)
      run.loseSession(0, 20)
    }
    for (const kind of MUTATION_KINDS) run.mutate(kind)

    await tell(cache, run, seed)

    expect(lost).toEqual([])
    const { ledger, ends, gaps } = run
    const states = expectedStates({ ledger, ends, gaps })
    const actual = await readState((sql) => database.query(sql))
    expect(describeFindings(checkState(states, actual))).toBe('')
  })
})

/** Hands the received events to the cache, in batches of any size, now and then some of them again. */
async function tell(cache: CacheWriter, run: RecordedRun, seed: number): Promise<void> {
  const random = seededRandom(seed)
  const lifecycle = new Lifecycle()
  const told: LedgerLine[] = []
  const classes = new Map<LedgerLine, string>()
  for (const line of run.ledger) {
    const end = run.ends.find((entry) => entry.session === line.session)
    if (end !== undefined && line.s > end.lastSent) continue
    classes.set(line, lifecycle.apply(line))
    const left = lifecycle.leftByReady.splice(0).map(BigInt)
    if (left.length > 0) cache.writeLeft(0, left, false)
    write(cache, line, classes.get(line)!)
    told.push(line)
    if (random() < 0.02) await cache.flush()
    if (random() < 0.005) {
      // A worker died after a commit that was not acknowledged: the session brings the same events again.
      await cache.flush()
      const again = told.slice(-Math.ceil(random() * 40))
      const replay = again.filter((entry) => entry.session === line.session && entry.t !== 'READY')
      for (const entry of replay) write(cache, entry, classes.get(entry)!)
    }
  }
  await cache.flush()
}

function write(cache: CacheWriter, line: LedgerLine, guildClass: string): void {
  cache.write({
    shardId: 0,
    sessionId: line.session,
    sequence: line.s,
    eventName: line.t,
    guildClass: guildClass as '' | 'joined',
    bytes: line.d!,
    start: 0,
    end: line.d!.length,
  })
}

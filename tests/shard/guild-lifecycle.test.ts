import { beforeEach, describe, expect, test } from 'vitest'
import { silentLog } from '../../src/base/index.ts'
import { encodeTerm } from '../../src/etf/index.ts'
import { GuildLifecycle } from '../../src/shard/guild-lifecycle.ts'
import type { Dispatch, MembershipRow, StoredMembership } from '../../src/shard/ports.ts'

const SHARD = 3
let stored: { filled: boolean; rows: MembershipRow[]; replay: StoredMembership['replay'] }
let left: { guildIds: bigint[]; isDoubtful: boolean }[]
let lifecycle: GuildLifecycle

beforeEach(() => {
  stored = { filled: true, rows: [], replay: { sessionId: '', classes: [] } }
  left = []
  lifecycle = new GuildLifecycle({
    membership: { load: () => Promise.resolve(stored) },
    log: silentLog,
    onLeft: (_shardId, guildIds, isDoubtful) => left.push({ guildIds, isDoubtful }),
  })
})

function dispatch(eventName: string, d: object, sequence = 1, sessionId = 'a'): Dispatch {
  const bytes = encodeTerm(d)
  return {
    shardId: SHARD,
    shardCount: 8,
    sessionId,
    sequence,
    position: sequence,
    eventName,
    guildClass: '',
    receivedAtMs: 0,
    bytes,
    start: 1,
    end: bytes.length,
  }
}

const create = (id: bigint, sequence = 1, sessionId = 'a'): string =>
  lifecycle.classify(
    dispatch('GUILD_CREATE', { id, name: 'x', unavailable: false }, sequence, sessionId),
  )
const stub = (id: bigint): string =>
  lifecycle.classify(dispatch('GUILD_CREATE', { id, unavailable: true }))
const outage = (id: bigint): string =>
  lifecycle.classify(dispatch('GUILD_DELETE', { id, unavailable: true }))
const remove = (id: bigint, sequence = 1): string =>
  lifecycle.classify(dispatch('GUILD_DELETE', { id }, sequence))

function ready(...ids: bigint[]): void {
  lifecycle.ready(dispatch('READY', { guilds: ids.map((id) => ({ id, unavailable: true })) }))
}

function row(guildId: bigint, state: MembershipRow['state'] = 'present'): MembershipRow {
  return { guildId, state, sessionId: '', sequence: 0 }
}

describe('a shard that was never READY', () => {
  test('its first READY fills membership silently; what comes later is joined', async () => {
    stored.filled = false
    await lifecycle.load(SHARD, 8)
    ready(1n, 2n)
    expect([create(1n), create(1n, 9), create(3n), left]).toEqual([
      'backfill',
      'available',
      'joined',
      [],
    ])
    expect(lifecycle.presentCount(SHARD)).toBe(2)
  })
})

describe('membership is known', () => {
  test('a guild that was there is available, another is joined', async () => {
    stored.rows = [row(1n)]
    await lifecycle.load(SHARD, 8)
    ready(1n, 2n)
    expect([create(1n), create(2n)]).toEqual(['available', 'joined'])
  })

  test('a replay of the event that made a guild present keeps its class, also after a restart', async () => {
    stored.rows = [{ guildId: 1n, state: 'present', sessionId: 'a', sequence: 7 }]
    await lifecycle.load(SHARD, 8)
    expect([create(1n, 7, 'a'), create(1n, 8, 'a'), create(1n, 7, 'b')]).toEqual([
      'joined',
      'available',
      'available',
    ])
  })

  test('the end of an outage, replayed for a guild that has left since, is no join', async () => {
    stored.replay = { sessionId: 'a', classes: [{ guildId: 1n, sequence: 8, guildClass: 'left' }] }
    await lifecycle.load(SHARD, 8)
    expect([create(1n, 7), remove(1n, 8), create(1n, 9)]).toEqual(['available', 'left', 'joined'])
  })

  test('what is noted of a session says nothing about another', async () => {
    stored.replay = { sessionId: 'a', classes: [{ guildId: 1n, sequence: 8, guildClass: 'left' }] }
    await lifecycle.load(SHARD, 8)
    expect(create(1n, 7, 'b')).toBe('joined')
  })

  test('an outage is not a leave, and its end is not a join', async () => {
    stored.rows = [row(1n)]
    await lifecycle.load(SHARD, 8)
    expect([outage(1n), create(1n, 2), stub(1n), create(1n, 3)]).toEqual([
      'unavailable',
      'available',
      'unavailable',
      'available',
    ])
  })

  test('a guild that is joined during its outage is joined when it comes', async () => {
    await lifecycle.load(SHARD, 8)
    expect([stub(1n), outage(1n), create(1n, 2)]).toEqual(['joining', 'joining', 'joined'])
  })

  test('a removal makes the next GUILD_CREATE a join', async () => {
    stored.rows = [row(1n)]
    await lifecycle.load(SHARD, 8)
    expect([remove(1n), create(1n, 2)]).toEqual(['left', 'joined'])
  })

  test('`unavailable` as nil is absent', async () => {
    stored.rows = [row(1n)]
    await lifecycle.load(SHARD, 8)
    expect(lifecycle.classify(dispatch('GUILD_DELETE', { id: 1n, unavailable: null }))).toBe('left')
  })

  test('a chunk of members that a backend requested says so', () => {
    const chunk = (nonce: unknown): string =>
      lifecycle.classify(dispatch('GUILD_MEMBERS_CHUNK', { guild_id: 1n, members: [], nonce }))
    expect([chunk('other'), chunk('gateway:fill:1'), chunk(undefined), chunk(null)]).toEqual([
      'requested',
      '',
      '',
      '',
    ])
  })

  test('other events have no class', async () => {
    await lifecycle.load(SHARD, 8)
    expect(lifecycle.classify(dispatch('GUILD_UPDATE', { id: 1n }))).toBe('')
  })
})

describe('READY lacks guilds', () => {
  test('they have left', async () => {
    stored.rows = [row(1n), row(2n), row(3n)]
    await lifecycle.load(SHARD, 8)
    ready(2n)
    expect(left).toEqual([{ guildIds: [1n, 3n], isDoubtful: false }])
    expect(create(1n, 5)).toBe('joined')
  })

  test('more than ten and more than a fifth are doubted: unavailable, not gone', async () => {
    stored.rows = Array.from({ length: 50 }, (_, index) => row(BigInt(index + 1)))
    await lifecycle.load(SHARD, 8)
    ready(...stored.rows.slice(11).map(({ guildId }) => guildId))
    expect(left.map(({ guildIds, isDoubtful }) => [guildIds.length, isDoubtful])).toEqual([
      [11, true],
    ])
    expect(create(1n, 5)).toBe('available')
  })

  test('eleven of many are believed', async () => {
    stored.rows = Array.from({ length: 60 }, (_, index) => row(BigInt(index + 1)))
    await lifecycle.load(SHARD, 8)
    ready(...stored.rows.slice(11).map(({ guildId }) => guildId))
    expect(left.map(({ guildIds, isDoubtful }) => [guildIds.length, isDoubtful])).toEqual([
      [11, false],
    ])
  })

  test('a READY without a list says nothing', async () => {
    stored.rows = [row(1n)]
    await lifecycle.load(SHARD, 8)
    lifecycle.ready(dispatch('READY', { v: 10 }))
    expect(left).toEqual([])
  })
})

/**
 * However a sequence of events is cut into batches, the same rows come out: random events, once committed one
 * by one, once in batches of random size, on two shards whose events share batches.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/base/index.ts'
import {
  channel,
  emoji,
  GUILD,
  guildCreate,
  member,
  openTestDatabase,
  type OpenDatabase,
  OTHER_GUILD,
  presence,
  role,
  TestCache,
  thread,
  user,
} from './cache-setup.ts'

type Event = Parameters<TestCache['write']>

const EVENTS = 120

/** Random events of two guilds with few ids, so that they meet often. */
function randomEvents(seed: number): Event[] {
  const random = seededRandom(seed)
  const below = (n: number): number => Math.floor(random() * n)
  const sequences = [0, 0]
  return Array.from({ length: EVENTS }, () => {
    const shardId = below(2)
    const guild = shardId === 0 ? GUILD : OTHER_GUILD
    const guild_id = guild
    // Ids are of one guild only.
    const at = (index: number): number => index + shardId * 100
    const some = <T>(make: (n: number) => T): T[] =>
      Array.from({ length: below(4) }, (_, index) => make(at(index))).filter(() => random() < 0.7)
    const n = at(below(4))
    const name = `name ${below(1000)}`
    const withRoles = { nick: name, roles: some((r) => role(r).id) }
    const kinds: [string, unknown, object?][] = [
      [
        'GUILD_CREATE',
        guildCreate({
          id: guild,
          name,
          member_count: below(5),
          channels: some((c) => channel(c, { name })),
          emojis: some(emoji),
          members: some((m) => member(m, withRoles)),
          presences: some((m) => presence(m, 'online')),
          roles: some((r) => role(r, { name })),
          threads: some((t) => thread(t, at(t % 2))),
          voice_states: some((m) => ({ user_id: user(m).id, channel_id: channel(at(0)).id })),
        }),
        { guildClass: random() < 0.5 ? 'joined' : 'available' },
      ],
      ['GUILD_UPDATE', { id: guild, name }],
      ['GUILD_DELETE', { id: guild }, { guildClass: 'left' }],
      ['GUILD_DELETE', { id: guild, unavailable: true }, { guildClass: 'unavailable' }],
      ['CHANNEL_UPDATE', channel(n, { guild_id, name })],
      ['CHANNEL_DELETE', channel(n, { guild_id })],
      ['CHANNEL_PINS_UPDATE', { guild_id, channel_id: channel(n).id, last_pin_timestamp: name }],
      ['THREAD_CREATE', thread(n, at(n % 2), { guild_id, name })],
      [
        'THREAD_UPDATE',
        thread(n, at(n % 2), { guild_id, name, thread_metadata: { archived: n % 100 === 1 } }),
      ],
      ['THREAD_DELETE', { id: thread(n, at(0)).id, guild_id }],
      [
        'THREAD_LIST_SYNC',
        {
          guild_id,
          channel_ids: some((c) => channel(c).id),
          threads: some((t) => thread(t, at(t % 2))),
        },
      ],
      ['THREAD_LIST_SYNC', { guild_id, threads: some((t) => thread(t, at(t % 2))) }],
      ['THREAD_MEMBERS_UPDATE', { id: thread(n, at(0)).id, guild_id, member_count: below(50) }],
      ['GUILD_ROLE_UPDATE', { guild_id, role: role(n, { name }) }],
      ['GUILD_ROLE_DELETE', { guild_id, role_id: role(n).id }],
      ['GUILD_EMOJIS_UPDATE', { guild_id, emojis: some(emoji) }],
      ['GUILD_STICKERS_UPDATE', { guild_id, stickers: some(emoji) }],
      ['GUILD_MEMBER_ADD', { guild_id, ...member(n, withRoles) }],
      ['GUILD_MEMBER_UPDATE', { guild_id, user: user(n), ...withRoles }],
      ['GUILD_MEMBER_UPDATE', { guild_id, user: user(n), pending: random() < 0.5 }],
      ['GUILD_MEMBER_REMOVE', { guild_id, user: user(n) }],
      [
        'GUILD_MEMBERS_CHUNK',
        {
          guild_id,
          members: some((m) => member(m, withRoles)),
          presences: some((m) => presence(m, 'dnd')),
        },
      ],
      ['PRESENCE_UPDATE', { guild_id, ...presence(n, random() < 0.5 ? 'online' : 'offline') }],
      [
        'VOICE_STATE_UPDATE',
        { guild_id, user_id: user(n).id, channel_id: random() < 0.5 ? channel(n).id : null },
      ],
      ['GUILD_BAN_ADD', { guild_id, user: user(n) }],
      ['GUILD_BAN_REMOVE', { guild_id, user: user(n) }],
      ['READY', { guilds: some((g) => ({ id: g % 2 === 0 ? guild : guild + 1n })) }],
    ]
    const [eventName, d, options] = kinds[below(kinds.length)]!
    sequences[shardId] = sequences[shardId]! + 1
    return [eventName, d, { shardId, sequence: sequences[shardId], ...options }] as Event
  })
}

const DUMPS = {
  bans: 'guild_id, user_id, data',
  channels: 'id, guild_id, data',
  emojis: 'id, guild_id, data',
  guilds: 'id, data, unavailable, count_session_id, count_sequence',
  guilds_persistent: 'id, state, session_id, sequence',
  members: 'guild_id, user_id, data',
  presence: 'user_id, guild_id, data',
  roles: 'id, guild_id, data',
  threads: 'id, guild_id, owner_id, parent_id, data',
  voice_states: 'guild_id, user_id, data',
} as const

async function dump(cache: TestCache): Promise<Record<string, unknown[]>> {
  const tables: Record<string, unknown[]> = {}
  for (const [table, columns] of Object.entries(DUMPS)) {
    tables[table] = await cache.database.query(`select ${columns} from ${table} order by 1, 2`)
  }
  return tables
}

describe('batches', () => {
  let opened: OpenDatabase
  beforeAll(async () => {
    opened = await openTestDatabase('postgres')
  })
  afterAll(() => opened.close())

  it.each([1, 2, 3, 137])('bring the same rows as single events, seed %i', async (seed) => {
    const single = await TestCache.open(opened.database, { laneCount: 1 })
    for (const event of randomEvents(seed)) {
      single.write(...event)
      await single.writer.flush()
    }
    const expected = await dump(single)
    expect(single.gaps).toEqual([])
    await single.close()

    const random = seededRandom(seed + 1000)
    const batched = await TestCache.open(opened.database, { laneCount: 1 })
    for (const event of randomEvents(seed)) {
      batched.write(...event)
      if (random() < 0.08) await batched.writer.flush()
    }
    await batched.writer.flush()
    const found = await dump(batched)
    await batched.close()
    for (const table of Object.keys(DUMPS)) expect(found[table], table).toEqual(expected[table])
  })
})

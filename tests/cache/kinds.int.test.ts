/** `-cache` with some kinds: their rows are kept, the others' events do not come to the cache. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { STATE_KIND_NAMES } from '../../src/discord/index.ts'
import {
  emoji,
  GUILD,
  guildCreate,
  member,
  type OpenDatabase,
  openTestDatabase,
  presence,
  TestCache,
  user,
} from './cache-setup.ts'

let opened: OpenDatabase
let cache: TestCache
beforeAll(async () => {
  opened = await openTestDatabase('postgres')
})
afterAll(() => opened.close())
beforeEach(() => opened.database.query('truncate gateway_fleet'))

const rows = async (table: string): Promise<number> =>
  (await opened.database.query(`select * from ${table}`)).length
const guild = async (columns: string): Promise<unknown> =>
  (await opened.database.query(`select ${columns} from guilds`))[0]

test('rows of the kinds that were chosen, and no others', async () => {
  cache = await TestCache.open(opened.database, { kinds: ['guilds', 'channels', 'threads'] })
  const create = guildCreate({ stickers: [{ id: 1n }] })
  await cache.commit(
    ['GUILD_CREATE', create, { sequence: 1 }],
    ['PRESENCE_UPDATE', { guild_id: GUILD, ...presence(1, 'online') }],
    ['GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(5) }],
  )
  for (const table of ['guilds', 'channels', 'threads']) expect(await rows(table)).not.toBe(0)
  for (const table of ['members', 'presence', 'roles', 'emojis', 'voice_states', 'bans']) {
    expect({ table, rows: await rows(table) }).toEqual({ table, rows: 0 })
  }
  expect(
    await guild(`data ? 'stickers' as stickers, members_complete, presences_complete, bans_since`),
  ).toEqual({
    stickers: false,
    members_complete: false,
    presences_complete: false,
    bans_since: null,
  })
  const { writer } = cache
  for (const name of ['THREAD_CREATE', 'CHANNEL_DELETE', 'GUILD_MEMBER_ADD', 'READY']) {
    expect({ name, touches: writer.touches(name) }).toEqual({ name, touches: true })
  }
  for (const name of ['PRESENCE_UPDATE', 'GUILD_ROLE_UPDATE', 'GUILD_BAN_ADD']) {
    expect({ name, touches: writer.touches(name) }).toEqual({ name, touches: false })
  }
  await cache.close()
})

test('member_count without member rows moves by the sequence, once', async () => {
  cache = await TestCache.open(opened.database, { kinds: ['guilds'] })
  const add = { guild_id: GUILD, ...member(5) }
  await cache.commit(['GUILD_CREATE', guildCreate(), { sequence: 1 }])
  for (let replay = 0; replay < 2; replay++) {
    await cache.commit(
      ['GUILD_MEMBER_ADD', add, { sequence: 2 }],
      ['GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(6) }, { sequence: 3 }],
      ['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: user(6) }, { sequence: 4 }],
    )
    expect(await guild(`data->'member_count' as count`)).toEqual({ count: 3 })
  }
  await cache.close()
})

test('what is no longer kept goes, what is kept anew is not called whole', async () => {
  cache = await TestCache.open(opened.database)
  expect(await cache.fleet.saveCached(STATE_KIND_NAMES)).toEqual({ added: [], removed: [] })
  await cache.commit([
    'GUILD_CREATE',
    guildCreate({ emojis: [emoji(1)], stickers: [{ id: 1n }] }),
    { sequence: 1 },
  ])
  const fewer = STATE_KIND_NAMES.filter((kind) => kind !== 'members' && kind !== 'stickers')
  expect(await cache.fleet.saveCached(fewer)).toEqual({
    added: [],
    removed: ['stickers', 'members'],
  })
  expect(await rows('members')).toBe(0)
  expect(await rows('emojis')).toBe(1)
  expect(await guild(`data ? 'stickers' as stickers, gap_at`)).toEqual({
    stickers: false,
    gap_at: null,
  })
  expect(await cache.fleet.saveCached(STATE_KIND_NAMES)).toMatchObject({
    added: ['stickers', 'members'],
  })
  expect(await guild('members_complete, gap_at is not null as gap')).toEqual({
    members_complete: false,
    gap: true,
  })
  const [fleet] = await opened.database.query<{ cached: string[] }>(
    'select cached from gateway_fleet',
  )
  expect(fleet?.cached).toEqual(STATE_KIND_NAMES)
  await cache.close()
})

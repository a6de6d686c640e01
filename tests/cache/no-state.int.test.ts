/** `-cache none`: which guilds there are is kept, what they hold is not. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  channel,
  GUILD,
  guildCreate,
  member,
  type OpenDatabase,
  openTestDatabase,
  OTHER_GUILD,
  TestCache,
} from './cache-setup.ts'

let opened: OpenDatabase
beforeAll(async () => {
  opened = await openTestDatabase('postgres')
})
afterAll(() => opened.close())

test('without state a guild is a member, and none of its objects is kept', async () => {
  const cache = await TestCache.open(opened.database, { kinds: [] })
  for (const id of [GUILD, OTHER_GUILD]) {
    const body = guildCreate({ id, channels: [channel(1, {})], members: [member(1, {})] })
    cache.write('GUILD_CREATE', body, { guildClass: 'joined' })
  }
  cache.write('GUILD_DELETE', { id: OTHER_GUILD }, { guildClass: 'left' })
  await cache.writer.flush()
  const count = async (table: string): Promise<number> =>
    (await opened.database.query(`select * from ${table}`)).length
  expect(await count('guilds_persistent')).toBe(1)
  for (const table of ['guilds', 'channels', 'members']) expect(await count(table)).toBe(0)
  expect(cache.writer.touches('PRESENCE_UPDATE')).toBe(false)
  expect(cache.writer.touches('GUILD_CREATE')).toBe(true)
})

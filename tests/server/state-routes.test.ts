import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  memoryCounters,
  Secret,
  seededRandom,
  silentLog,
  systemClock,
} from '../../src/base/index.ts'
import { type Database, migrate, openDatabase, StateReader } from '../../src/cache/index.ts'
import { type HttpServer, startHttpServer } from '../../src/server/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import {
  CHANNEL,
  CHANNEL_DATA,
  EMOJI,
  EMOJI_DATA,
  EMPTY_GUILD,
  GUILD,
  GUILD_DATA,
  insertWorld,
  MEMBERS,
  MESSAGE,
  MESSAGE_DATA,
  NAMES,
  OTHER_GUILD,
  OTHER_ROLE,
  OTHER_ROLE_DATA,
  PRESENCE_DATA,
  ROLE,
  ROLE_DATA,
  THREAD,
  THREAD_DATA,
  UNKNOWN,
} from './state-world.ts'

const deps = {
  clock: systemClock,
  random: seededRandom(1),
  log: silentLog,
  counters: memoryCounters(),
}

async function openPostgres(): Promise<{ db: Database; remove: () => Promise<void> }> {
  const database = await freshDatabase()
  const db = await openDatabase({ url: new Secret(database.url), name: 'test' }, deps)
  return { db, remove: () => database.drop() }
}

async function openEmbedded(): Promise<{ db: Database; remove: () => Promise<void> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'gateway-state-'))
  const db = await openDatabase({ dataDir: join(dataDir, 'data') }, deps)
  return { db, remove: () => rm(dataDir, { recursive: true, force: true }) }
}

describe.each([
  { kind: 'postgres', open: openPostgres },
  { kind: 'embedded', open: openEmbedded },
])('State on $kind', ({ open }) => {
  let db: Database
  let remove: () => Promise<void>
  let server: HttpServer

  beforeAll(async () => {
    ;({ db, remove } = await open())
    await migrate(db, { log: silentLog })
    await insertWorld(db)
    server = await startHttpServer({
      address: '127.0.0.1:0',
      flag: 'addr',
      version: '1.2.3',
      clock: systemClock,
      log: silentLog,
      reader: new StateReader(db),
    })
  })

  afterAll(async () => {
    await server.close()
    await db.close()
    await remove()
  })

  const ask = async (
    path: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; text: string; type: string | null }> => {
    const response = await fetch(`${server.url}/v1/events/${path}`, { headers })
    const type = response.headers.get('content-type')
    return { status: response.status, text: await response.text(), type }
  }
  const read = async (path: string): Promise<unknown> => {
    const { status, text, type } = await ask(path)
    expect({ path, status, text: status === 200 ? '' : text }).toEqual({
      path,
      status: 200,
      text: '',
    })
    expect(type).toBe('application/json; charset=utf-8')
    return JSON.parse(text)
  }

  test.each([
    [`channels/${CHANNEL}`, { ...CHANNEL_DATA, guild_id: GUILD }],
    [`channels/${CHANNEL}/messages/${MESSAGE}`, MESSAGE_DATA],
    [`channels/${CHANNEL}/threads`, [THREAD_DATA]],
    [`guilds/${GUILD}`, GUILD_DATA],
    [`guilds/${GUILD}/channels`, [{ ...CHANNEL_DATA, guild_id: GUILD }]],
    [`guilds/${GUILD}/members`, MEMBERS],
    [`guilds/${GUILD}/members/${MEMBERS[2].user.id}`, MEMBERS[2]],
    [`guilds/${GUILD}/members/${MEMBERS[0].user.id}/presence`, PRESENCE_DATA],
    [`guilds/${GUILD}/roles`, [ROLE_DATA, OTHER_ROLE_DATA]],
    [`guilds/${GUILD}/roles/${OTHER_ROLE}`, OTHER_ROLE_DATA],
    [`guilds/${GUILD}/emojis`, [EMOJI_DATA]],
    [`guilds/${GUILD}/emojis/${EMOJI}`, EMOJI_DATA],
    [`guilds/${GUILD}/threads`, [THREAD_DATA]],
    [`threads`, [THREAD_DATA, { id: '1100000000000000002' }]],
    [`threads/${THREAD}`, THREAD_DATA],
  ])('GET %s is the stored object', async (path, expected) => {
    expect(await read(path)).toEqual(expected)
  })

  test('a user is the newest user object of any member row', async () => {
    expect(await read(`users/${MEMBERS[0].user.id}`)).toEqual({
      ...MEMBERS[0].user,
      username: 'nelly2',
    })
  })

  test('users?userIDs= answers one entry per member row, in the order of the ids', async () => {
    const [first, second] = MEMBERS
    expect(await read(`users?userIDs=${second.user.id},${UNKNOWN},${first.user.id}`)).toEqual([
      { UserID: second.user.id, Username: second.user.username },
      { UserID: first.user.id, Username: 'nelly' },
      { UserID: first.user.id, Username: 'nelly2' },
    ])
    expect(await read(`users?userIDs=${UNKNOWN}`)).toEqual([])
  })

  test('members?id= keeps the order asked for and marks the missing', async () => {
    const [first, second] = MEMBERS
    const ids = [second.user.id, UNKNOWN, first.user.id, second.user.id]
    expect(await read(`guilds/${GUILD}/members?${ids.map((id) => `id=${id}`).join('&')}`)).toEqual([
      second,
      { id: UNKNOWN, is_empty: true },
      first,
      second,
    ])
  })

  test('roles?id= keeps the order asked for and marks the missing', async () => {
    expect(await read(`guilds/${GUILD}/roles?id=${OTHER_ROLE}&id=${UNKNOWN}&id=${ROLE}`)).toEqual([
      OTHER_ROLE_DATA,
      { id: UNKNOWN, is_empty: true },
      ROLE_DATA,
    ])
  })

  test.each([
    ['username, whatever the case', 'NELL', [0]],
    ['global name with quotes', `'); drop`, [1]],
    ['global name with a backslash', '"\\', []],
    ['nick with an emoji', '🦊👩‍', [2]],
    ['letters beyond ASCII in another case', 'ÄRGER', [2]],
    ['display name', 'SURE', [3]],
    ['% as itself', '00%', [3]],
    ['_ as itself', '%_s', [3]],
    ['a backslash as itself', 'e\\x', [3]],
    ['% is no wildcard', '%%%', []],
    ['_ is no wildcard', '___', []],
    ['two characters find nothing', 'el', []],
    ['two characters that are four units find nothing', '🦊👩', []],
    ['nothing', '', []],
    ['a NUL finds nothing', 'nel\0', []],
  ])('members?query= finds by %s', async (_name, query, found) => {
    expect(await read(`guilds/${GUILD}/members?query=${encodeURIComponent(query)}`)).toEqual(
      found.map((index) => MEMBERS[index]),
    )
  })

  test('members_with_role answers ids', async () => {
    expect(await read(`guilds/${GUILD}/members_with_role/${ROLE}`)).toEqual([
      { id: MEMBERS[0].user.id },
      { id: MEMBERS[1].user.id },
    ])
    expect(await read(`guilds/${GUILD}/members_with_role/${UNKNOWN}`)).toEqual([])
  })

  test('guilds_count is a number as text', async () => {
    expect(await ask('guilds_count')).toEqual({
      status: 200,
      text: '2',
      type: 'text/plain; charset=utf-8',
    })
  })

  test('user_in_guilds tells whether the user is in one of the guilds', async () => {
    const id = MEMBERS[1].user.id
    const path = `user_in_guilds?user_id=${id}&server_ids=`
    expect(await read(`${path}${OTHER_GUILD},${GUILD}`)).toEqual({ exists: true })
    expect(await read(`${path}${OTHER_GUILD}`)).toEqual({ exists: false })
    expect(await read(path)).toEqual({ exists: false })
  })

  test('user_in_guilds_has_roles tells whether the user has one of the roles there', async () => {
    const id = MEMBERS[1].user.id
    const path = `user_in_guilds_has_roles?user_id=${id}&server_ids=${OTHER_GUILD},${GUILD}&role_ids=`
    expect(await read(`${path}${UNKNOWN},${OTHER_ROLE}`)).toEqual({ exists: true })
    expect(await read(`${path}${UNKNOWN}`)).toEqual({ exists: false })
  })

  test.each(['channels', 'members', 'roles', 'emojis', 'threads'])(
    'the %s of a guild never seen are an empty list',
    async (children) => {
      expect(await read(`guilds/${EMPTY_GUILD}/${children}`)).toEqual([])
    },
  )

  test.each([
    `users/${UNKNOWN}`,
    `channels/${UNKNOWN}`,
    `channels/${CHANNEL}/messages/${UNKNOWN}`,
    `channels/${UNKNOWN}/messages/${MESSAGE}`,
    `guilds/${EMPTY_GUILD}`,
    `guilds/${GUILD}/members/${UNKNOWN}`,
    `guilds/${GUILD}/members/${MEMBERS[1].user.id}/presence`,
    `guilds/${OTHER_GUILD}/roles/${ROLE}`,
    `guilds/${OTHER_GUILD}/emojis/${EMOJI}`,
    `threads/${UNKNOWN}`,
    // The highest snowflake there can be: Postgres' int8 is signed.
    'guilds/18446744073709551615',
  ])('GET %s is not found, as text', async (path) => {
    expect(await ask(path)).toEqual({
      status: 404,
      text: `Not found: /v1/events/${path}`,
      type: 'text/plain; charset=utf-8',
    })
  })

  test.each(['-1', '18446744073709551616', 'abc', '1e3', '0', '1.5', '%00', '1%27', '0x10'])(
    'the id %s is refused with a sentence',
    async (id) => {
      for (const path of [
        `guilds/${id}`,
        `guilds/${GUILD}/members/${id}`,
        `channels/${id}/threads`,
      ]) {
        const { status, text } = await ask(path)
        expect({ path, status }).toEqual({ path, status: 400 })
        expect(text).toContain('is not an id: expected a decimal number from 1 to')
      }
      for (const path of [
        `guilds/${GUILD}/members?id=1&id=${id}`,
        `users?userIDs=1,${id}`,
        `user_in_guilds?user_id=${id}&server_ids=1`,
        `user_in_guilds_has_roles?user_id=1&server_ids=1&role_ids=${id}`,
      ]) {
        expect({ path, status: (await ask(path)).status }).toEqual({ path, status: 400 })
      }
    },
  )

  test('a missing parameter is named', async () => {
    expect(await ask('users')).toMatchObject({
      status: 400,
      text: 'The query parameter userIDs is missing: expected ids, as userIDs=1,2.',
    })
    expect((await ask('user_in_guilds?server_ids=1')).text).toMatch(/^user_id "" is not an id/)
  })

  test('a thousand ids are answered, more are refused', async () => {
    const path = `guilds/${GUILD}/members?`
    const ids = (count: number): string =>
      Array.from({ length: count }, (_, index) => `id=${100000000000000000n + BigInt(index)}`).join(
        '&',
      )
    expect(await read(path + ids(1000))).toHaveLength(1000)
    expect((await ask(path + ids(1001))).status).toBe(400)
  })

  test('a problem is told as RFC 9457 to whoever accepts it', async () => {
    const { text, ...rest } = await ask('guilds/abc', { accept: 'application/problem+json' })
    expect(rest).toEqual({ status: 400, type: 'application/problem+json; charset=utf-8' })
    expect(JSON.parse(text)).toMatchObject({
      status: 400,
      title: 'Bad Request',
      code: 'SERVER_BAD_REQUEST',
    })
  })

  test('names come back as they are', async () => {
    const members = (await read(`guilds/${GUILD}/members`)) as typeof MEMBERS
    expect(members.map(({ user, nick }) => [user, nick])).toEqual(
      MEMBERS.map(({ user, nick }) => [user, nick]),
    )
    expect(members[4].user.username).toBe(NAMES.replaced)
  })

  test('a list of several pages is whole and in order', async () => {
    const guild = '5000000000000000000'
    await db.query(
      `insert into members (guild_id, user_id, data) select $1, i, jsonb_build_object('nick', i)
       from generate_series(1, 1250) as i`,
      [guild],
    )
    const members = (await read(`guilds/${guild}/members`)) as { nick: number }[]
    expect(members.map(({ nick }) => nick)).toEqual(
      Array.from({ length: 1250 }, (_, index) => index + 1),
    )
    // Exactly two pages: the third is empty.
    await db.query('delete from members where guild_id = $1 and user_id > 1000', [guild])
    expect(await read(`guilds/${guild}/members`)).toHaveLength(1000)
    await db.query('delete from members where guild_id = $1', [guild])
  })

  test('a name with SQL in it harms nothing', async () => {
    expect(await read(`guilds/${GUILD}/members?query=${encodeURIComponent(NAMES.quoted)}`)).toEqual(
      [MEMBERS[1]],
    )
    expect(await read(`guilds/${GUILD}/members`)).toHaveLength(MEMBERS.length)
  })

  test('POST and DELETE have no route yet', async () => {
    for (const method of ['POST', 'DELETE']) {
      const response = await fetch(`${server.url}/v1/events/guilds/${GUILD}/roles`, { method })
      expect(response.status).toBe(404)
    }
  })
})

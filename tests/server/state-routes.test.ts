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
import {
  type Database,
  migrate,
  openDatabase,
  StateEditor,
  StateReader,
} from '../../src/cache/index.ts'
import { ALL_INTENTS, INTENTS } from '../../src/discord/index.ts'
import { ByteBuffer, termToJson } from '../../src/etf/index.ts'
import { type HttpServer, startHttpServer } from '../../src/server/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import { until } from '../support/until.ts'
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

/** What the fleet's row says is older than this at most. */
const MARKS_MS_MAX = 1001

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
  let laterMs = 0
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + laterMs }

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
      state: {
        reader: new StateReader(db, clock),
        editor: new StateEditor(db),
        writeToken: new Secret('write-me'),
      },
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
      text: 'The query parameter userIDs is missing.',
    })
    expect((await ask('user_in_guilds?server_ids=1')).text).toBe(
      'The query parameter user_id is missing.',
    )
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

  const send = async (
    method: string,
    path: string,
    body?: string,
    headers: Record<string, string> = { authorization: 'Bearer write-me' },
  ): Promise<{ status: number; text: string }> => {
    const type: Record<string, string> =
      body === undefined ? {} : { 'content-type': 'application/json' }
    const response = await fetch(`${server.url}/v1/events/${path}`, {
      method,
      headers: { ...type, ...headers },
      ...(body === undefined ? {} : { body }),
    })
    return { status: response.status, text: await response.text() }
  }

  test('pages by key reach every entry once, and the next one is linked', async () => {
    const seen: unknown[] = []
    let path: string | undefined = `guilds/${GUILD}/members?limit=2`
    for (let pages = 0; path !== undefined && pages < 10; pages++) {
      const response: Response = await fetch(`${server.url}/v1/events/${path}`)
      seen.push(...((await response.json()) as unknown[]))
      path = /<\/v1\/events\/(.*)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1]
    }
    expect(seen).toEqual(MEMBERS)
    expect(await read(`guilds/${GUILD}/members?after=${MEMBERS[2].user.id}`)).toEqual(
      MEMBERS.slice(3),
    )
    for (const bad of ['limit=0', 'limit=1001', 'limit=x', 'after=x', 'after=-1']) {
      expect((await ask(`guilds/${GUILD}/members?${bad}`)).status).toBe(400)
    }
  })

  test('a guild with chosen children is one answer; an unknown one is refused by name', async () => {
    expect(await read(`guilds/${GUILD}?with=channels,roles,me,voice_states`)).toEqual({
      ...GUILD_DATA,
      channels: [{ ...CHANNEL_DATA, guild_id: GUILD }],
      roles: [ROLE_DATA, OTHER_ROLE_DATA],
      me: null,
      voice_states: [],
    })
    expect((await ask(`guilds/${GUILD}?with=roles,cats`)).text).toBe(
      'with "cats" is not known: expected channels, emojis, me, roles, scheduled_events, soundboard_sounds, stage_instances, threads, voice_states.',
    )
    expect((await ask(`guilds/${EMPTY_GUILD}?with=roles`)).status).toBe(404)
  })

  test('bans, voice states and stickers are the stored objects', async () => {
    const id = MEMBERS[0].user.id
    const guild = '302094807046684999'
    const sticker = { id: '77', name: 'wave' }
    await db.query('insert into guilds (id, data) values ($1, $2)', [
      guild,
      JSON.stringify({ id: guild, stickers: [sticker] }),
    ])
    for (const [table, data] of [
      ['bans', { user: { id } }],
      ['voice_states', { user_id: id, channel_id: CHANNEL }],
    ] as const) {
      await db.query(`insert into ${table} (guild_id, user_id, data) values ($1, $2, $3)`, [
        guild,
        id,
        JSON.stringify(data),
      ])
      expect(await read(`guilds/${guild}/${table}`)).toEqual([data])
      expect(await read(`guilds/${guild}/${table}/${id}`)).toEqual(data)
      expect((await ask(`guilds/${guild}/${table}/${UNKNOWN}`)).status).toBe(404)
    }
    expect(await read(`guilds/${guild}/stickers`)).toEqual([sticker])
    expect(await read(`guilds/${guild}/stickers/77`)).toEqual(sticker)
    expect((await ask(`guilds/${guild}/stickers/78`)).status).toBe(404)
    expect(await read(`guilds/${GUILD}/stickers`)).toEqual([])
    expect(await read(`guilds/${guild}/counts`)).toMatchObject({
      bans: 1,
      voice_states: 1,
      roles: 0,
    })
    expect(await read('counts')).toEqual({ guilds: 3, unavailable: 0, member_count: 5 })
    expect(await read('guilds?limit=1')).toEqual([{ id: GUILD }])
    await db.query('delete from guilds where id = $1', [guild])
  })

  test('scheduled events, stage instances, sounds and presences are the stored objects', async () => {
    for (const table of ['scheduled_events', 'stage_instances', 'soundboard_sounds']) {
      const object = { id: EMOJI, guild_id: GUILD, name: table }
      await db.query(`insert into ${table} (id, guild_id, data) values ($1, $2, $3)`, [
        EMOJI,
        GUILD,
        JSON.stringify(object),
      ])
      expect(await read(`guilds/${GUILD}/${table}`)).toEqual([object])
      expect(await read(`guilds/${GUILD}/${table}/${EMOJI}`)).toEqual(object)
      expect((await ask(`guilds/${GUILD}/${table}/${UNKNOWN}`)).status).toBe(404)
      const { [table]: listed } = (await read(`guilds/${GUILD}?with=${table}`)) as Record<
        string,
        unknown
      >
      expect(listed).toEqual([object])
    }
    expect(await read(`guilds/${GUILD}/presences`)).toEqual([PRESENCE_DATA])
  })

  test('a list says whether it is whole', async () => {
    const complete = async (path: string): Promise<string | null> =>
      (await fetch(`${server.url}/v1/events/${path}`)).headers.get('x-complete')
    const marks = (set: string): Promise<unknown> =>
      db.query(`update guilds set ${set} where id = ${GUILD}`)
    const everything = async (): Promise<Record<string, string | null>> => {
      const paths = ['channels', 'members', 'presences', 'bans', 'emojis', 'voice_states']
      const entries = paths.map(
        async (path) => [path, await complete(`guilds/${GUILD}/${path}`)] as const,
      )
      return Object.fromEntries(await Promise.all(entries))
    }
    const WHOLE = { channels: 'true', voice_states: 'true', emojis: 'true', bans: 'false' }
    await db.query(`insert into gateway_fleet (name, bot_user_id) values ('whole', 1)
      on conflict do nothing`)
    await db.query(`update gateway_fleet set intents = ${ALL_INTENTS}`)
    laterMs += MARKS_MS_MAX
    expect(await everything()).toEqual({ ...WHOLE, members: 'false', presences: 'false' })
    await marks('members_complete = true, presences_complete = true')
    expect(await everything()).toEqual({ ...WHOLE, members: 'true', presences: 'true' })
    expect(await complete(`guilds/${GUILD}/members_with_role/${ROLE}`)).toBe('true')
    expect(await complete(`guilds/${GUILD}/members?query=nelly`)).toBe('true')
    expect(await complete(`channels/${CHANNEL}/threads`)).toBe('true')
    // Neither what is asked for by id, nor one object, nor a list over guilds.
    expect(await complete(`guilds/${GUILD}/members?id=${MEMBERS[0].user.id}`)).toBe(null)
    expect(await complete(`guilds/${GUILD}`)).toBe(null)
    expect(await complete('threads')).toBe(null)
    expect(await complete(`guilds/${EMPTY_GUILD}/channels`)).toBe('false')
    await marks('gap_at = now()')
    expect(await complete(`guilds/${GUILD}/channels`)).toBe('false')
    await marks('gap_at = null, unavailable = true')
    expect(await complete(`guilds/${GUILD}/channels`)).toBe('false')
    await marks('unavailable = false, members_complete = false, presences_complete = false')
    await db.query(`update gateway_fleet set intents = ${INTENTS.GUILDS}`)
    laterMs += MARKS_MS_MAX
    expect(await everything()).toMatchObject({ channels: 'true', voice_states: 'false' })
    await db.query('delete from gateway_fleet')
    laterMs += MARKS_MS_MAX
  })

  test('what is not cached is said, and not shown as empty', async () => {
    await db.query(`insert into gateway_fleet (name, bot_user_id, cached)
      values ('kinds', 1, '{guilds,channels}')`)
    laterMs += MARKS_MS_MAX
    const refused = [
      `guilds/${GUILD}/members`,
      `guilds/${GUILD}/members/1`,
      `guilds/${GUILD}/roles?id=1`,
      `guilds/${GUILD}?with=me`,
      `channels/${CHANNEL}/members/1/permissions`,
      `users/1`,
      'threads',
    ]
    for (const path of refused) {
      const { status, text } = await ask(path)
      expect({ path, status }).toEqual({ path, status: 501 })
      expect(text).toMatch(/^The gateway does not cache \w+: start it with \w+ in -cache\.$/)
    }
    expect(await read(`guilds/${GUILD}/channels`)).toHaveLength(1)
    expect(await read(`guilds/${GUILD}?with=channels`)).toMatchObject({ id: GUILD })
    expect(await read(`guilds/${GUILD}/counts`)).toMatchObject({ channels: 1, members: null })
    await db.query('delete from gateway_fleet')
    laterMs += MARKS_MS_MAX
    expect((await ask(`guilds/${GUILD}/members`)).status).toBe(200)
  })

  test("a guild's state is told from its membership", async () => {
    await db.query(`insert into guilds_persistent (id, state) values ($1, 'unavailable')`, [GUILD])
    expect(await read(`guilds/${GUILD}/state`)).toMatchObject({
      id: GUILD,
      state: 'unavailable',
      is_cached: true,
      unavailable: false,
    })
    expect((await ask(`guilds/${EMPTY_GUILD}/state`)).status).toBe(404)
  })

  test('POST batch answers in the order of the ids', async () => {
    const ids = [OTHER_ROLE, UNKNOWN, ROLE]
    const { text } = await send('POST', `batch/guilds/${GUILD}/roles`, JSON.stringify(ids), {})
    expect(JSON.parse(text)).toEqual([OTHER_ROLE_DATA, { id: UNKNOWN, is_empty: true }, ROLE_DATA])
    expect((await send('POST', 'batch/guilds', '["x"]', {})).text).toContain('is not an id')
    expect((await send('POST', 'batch/guilds', '{', {})).status).toBe(400)
    const many = JSON.stringify(Array.from({ length: 1001 }, (_, index) => String(index + 1)))
    expect((await send('POST', 'batch/users', many, {})).status).toBe(400)
  })

  test('permissions of a member in a guild, a channel and its thread', async () => {
    const guild = '302094807046685000'
    const [channel, thread, user] = ['302094807046685001', '302094807046685002', '55']
    const insert = (
      table: string,
      columns: string,
      values: string[],
      data: unknown,
    ): Promise<unknown> =>
      db.query(
        `insert into ${table} (${columns}, data) values (${[...values, ''].map((_, index) => `$${index + 1}`).join(', ')})`,
        [...values, JSON.stringify(data)],
      )
    await insert('guilds', 'id', [guild], { owner_id: '1' })
    await insert('roles', 'id, guild_id', [guild, guild], { permissions: '3072' })
    await insert('roles', 'id, guild_id', ['9', guild], { permissions: '2' })
    await insert('channels', 'id, guild_id', [channel, guild], {
      type: 0,
      permission_overwrites: [{ id: '9', type: 0, allow: '64', deny: '2048' }],
    })
    await insert('threads', 'id, guild_id, parent_id', [thread, guild, channel], { type: 11 })
    await insert('members', 'guild_id, user_id', [guild, user], { roles: ['9'] })
    await insert('members', 'guild_id, user_id', [guild, '56'], {
      roles: [],
      communication_disabled_until: '2999-01-01T00:00:00+00:00',
    })
    const of = async (path: string): Promise<unknown> => {
      const { permissions } = (await read(`${path}/permissions`)) as { permissions: string }
      return permissions
    }
    expect(await of(`guilds/${guild}/members/${user}`)).toBe('3074')
    expect(await of(`channels/${channel}/members/${user}`)).toBe(String(1024 + 2 + 64))
    expect(await of(`channels/${thread}/members/${user}`)).toBe(String(1024 + 2 + 64))
    expect(await read(`channels/${channel}/members/56/permissions`)).toEqual({
      permissions: '1024',
      names: ['VIEW_CHANNEL'],
      is_timed_out: true,
    })
    expect((await ask(`channels/${channel}/members/${UNKNOWN}/permissions`)).status).toBe(404)
    expect((await ask(`channels/${UNKNOWN}/members/${user}/permissions`)).status).toBe(404)
    await db.query('delete from guilds where id = $1', [guild])
    await db.query('delete from threads where id = $1', [thread])
  })

  test('ETF: one answer is a term, a list is LIST_EXT, ids are integers', async () => {
    const etf = async (path: string): Promise<Buffer> => {
      const response = await fetch(`${server.url}/v1/events/${path}`, {
        headers: { accept: 'application/x-erlang-binary' },
      })
      expect(response.headers.get('content-type')).toBe('application/x-erlang-binary')
      return Buffer.from(await response.arrayBuffer())
    }
    const role = await etf(`guilds/${GUILD}/roles/${ROLE}`)
    expect([role[0], role[1]]).toEqual([131, 116])
    expect(JSON.parse(jsonOf(role))).toEqual(ROLE_DATA)
    const roles = await etf(`guilds/${GUILD}/roles`)
    expect([roles[0], roles[1], roles.readUInt32BE(2)]).toEqual([131, 108, 2])
    expect(JSON.parse(jsonOf(roles))).toEqual([ROLE_DATA, OTHER_ROLE_DATA])
    expect([...(await etf(`guilds/${EMPTY_GUILD}/roles`))]).toEqual([131, 106])
  })

  test('ETF: a list of several pages is one LIST_EXT, and more than one term can hold is refused', async () => {
    const guild = '5000000000000000001'
    const accept = { accept: 'application/x-erlang-binary' }
    const url = `${server.url}/v1/events/guilds/${guild}/members`
    const fill = (from: number, to: number, bytes: number): Promise<unknown> =>
      db.query(
        `insert into members (guild_id, user_id, data)
         select $1, i, jsonb_build_object('nick', i, 'pad', repeat('x', ${bytes})) from generate_series(${from}, ${to}) as i`,
        [guild],
      )
    await fill(1, 1250, 0)
    const list = Buffer.from(await (await fetch(url, { headers: accept })).arrayBuffer())
    expect([list[0], list[1], list.readUInt32BE(2), list.at(-1)]).toEqual([131, 108, 1250, 106])
    const entries = JSON.parse(jsonOf(list)) as { nick: number }[]
    expect(entries.map(({ nick }) => nick)).toEqual(Array.from({ length: 1250 }, (_, n) => n + 1))
    const page = await fetch(`${url}?limit=1000`, { headers: accept })
    expect(page.headers.get('link')).toContain('after=1000')
    expect(Buffer.from(await page.arrayBuffer()).readUInt32BE(2)).toBe(1000)
    expect((await fetch(`${url}?limit=1000`)).headers.get('link')).toContain('after=1000')
    await fill(2001, 2040, 1024 * 1024)
    const refused = await fetch(url, { headers: accept })
    expect([refused.status, await refused.text()]).toEqual([
      413,
      expect.stringContaining('ask for pages with limit'),
    ])
    await db.query('delete from members where guild_id = $1', [guild])
  })

  test('an answer that did not change is 304', async () => {
    const url = `${server.url}/v1/events/guilds/${GUILD}`
    const etag = (await fetch(url)).headers.get('etag')!
    const again = await fetch(url, { headers: { 'if-none-match': `"x", W/${etag}` } })
    expect([again.status, await again.text()]).toEqual([304, ''])
    expect((await fetch(url, { headers: { 'if-none-match': '"x"' } })).status).toBe(200)
  })

  test('x-as-of is the oldest acknowledgement of the shards that feed the answer', async () => {
    await db.query(`insert into gateway_fleet (name, bot_user_id, shard_count) values ('f', 1, 2)`)
    const shard = Number((BigInt(GUILD) >> 22n) % 2n)
    for (const [id, at] of [
      [shard, '2026-01-02T00:00:00Z'],
      [1 - shard, '2026-01-01T00:00:00Z'],
    ]) {
      await db.query(
        `insert into gateway_sessions (name, shard, shard_count, session_id, fence_epoch, fence_revision, updated_at)
         values ('f', $1, 2, 'secret', 1, 1, $2)`,
        [id, at],
      )
    }
    const asOf = async (path: string): Promise<string | null> =>
      (await fetch(`${server.url}/v1/events/${path}`)).headers.get('x-as-of')
    // The marks are read once a second.
    await until(async () => (await asOf(`guilds/${GUILD}`)) === '2026-01-02T00:00:00.000Z')
    expect(await asOf('threads')).toBe('2026-01-01T00:00:00.000Z')
    const shards = JSON.stringify(await read('shards'))
    expect(shards).not.toContain('secret')
    expect(await read('shards?after=0')).toMatchObject([{ shard: 1, has_session: true }])
  })

  test('what is written is read back; deleting and wiping spare other guilds', async () => {
    const guild = '302094807046686000'
    const body = `{"5":{"id":"5","n":12345678901234567890},"6":{"id":"6"},"7":{"id":"7"}}`
    expect(await send('POST', `guilds/${guild}/roles`, body)).toEqual({ status: 200, text: '' })
    const { text } = await ask(`guilds/${guild}/roles/5`)
    expect(text).toContain('12345678901234567890')
    await send('POST', `guilds/${guild}/roles`, '{"6":{"id":"6","name":"six"}}')
    expect(await read(`guilds/${guild}/roles/6`)).toEqual({ id: '6', name: 'six' })
    await send('DELETE', `guilds/${guild}/roles/delete`, '["5"]')
    expect(await read(`guilds/${guild}/roles`)).toHaveLength(2)
    expect((await send('DELETE', `guilds/${guild}/roles/wipe`)).status).toBe(200)
    expect(await read(`guilds/${guild}/roles`)).toEqual([])
    expect(await read(`guilds/${GUILD}/roles`)).toHaveLength(2)
    for (const table of ['members', 'channels']) {
      expect((await send('POST', `guilds/${guild}/${table}`, '{"8":{"id":"8"}}')).status).toBe(200)
      expect(await read(`guilds/${guild}/${table}/`)).toHaveLength(1)
    }
    await db.query('delete from members where guild_id = $1', [guild])
  })

  test.each([
    ['an id that is none', '{"x":{}}'],
    ['a value that is no object', '{"5":1}'],
    ['a list', '[1]'],
    ['no JSON', '{'],
    ['a NUL', '{"5":{"name":"\\u0000"}}'],
    ['half of a surrogate pair', '{"5":{"name":"\\ud800"}}'],
  ])('a body with %s is refused', async (_name, body) => {
    expect((await send('POST', `guilds/${GUILD}/roles`, body)).status).toBe(400)
  })

  test('writing needs its token', async () => {
    const path = `guilds/${GUILD}/roles/wipe`
    expect((await send('DELETE', path, undefined, {})).status).toBe(401)
    expect(
      (await send('DELETE', path, undefined, { authorization: 'Bearer write-m' })).status,
    ).toBe(401)
    expect(await read(`guilds/${GUILD}/roles`)).toHaveLength(2)
  })

  test('without a write token the writing routes say so; a read token closes reading', async () => {
    const closed = await startHttpServer({
      address: '127.0.0.1:0',
      flag: 'addr',
      version: '1',
      clock: systemClock,
      log: silentLog,
      state: {
        reader: new StateReader(db),
        editor: new StateEditor(db),
        readToken: new Secret('r'),
      },
    })
    const url = `${closed.url}/v1/events/guilds/${GUILD}`
    const wipe = await fetch(`${url}/roles/wipe`, { method: 'DELETE' })
    expect([wipe.status, await wipe.text()]).toEqual([
      403,
      'Writing is off: it needs the program to be started with -write-token.',
    ])
    const refused = await fetch(url)
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    expect((await fetch(url, { headers: { authorization: 'Bearer r' } })).status).toBe(200)
    await closed.close()
  })

  test('/openapi.json is OpenAPI 3.1 with every route; the page asks no other host', async () => {
    const openapi = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
      openapi: string
      paths: Record<string, unknown>
    }
    expect(openapi.openapi).toBe('3.1.0')
    expect(Object.keys(openapi.paths)).toContain('/v1/events/guilds/{guild}/members')
    const page = await fetch(`${server.url}/docs/`)
    expect(page.headers.get('content-security-policy')).toContain("connect-src 'self'")
    const html = await page.text()
    expect(html).not.toMatch(/(src|href)="https?:/)
    const script = /src="([^"]+\.js)"/.exec(html)?.[1]
    expect((await fetch(new URL(script!, `${server.url}/docs/`))).status).toBe(200)
  })
})

function jsonOf(term: Buffer): string {
  const out = new ByteBuffer()
  termToJson(term, 1, term.length, out)
  return Buffer.from(out.view()).toString()
}

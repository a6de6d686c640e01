/** What each guild's row says of its lists, and the children that change one by one. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  GUILD,
  guildCreate,
  KINDS,
  member,
  openTestDatabase,
  type OpenDatabase,
  TestCache,
  user,
} from './cache-setup.ts'

const LARGE = { member_count: 500, large: true, members: [member(3)] }

describe.each(KINDS)('what is complete, on %s', (kind) => {
  let opened: OpenDatabase
  let cache: TestCache

  beforeAll(async () => {
    opened = await openTestDatabase(kind)
  })
  afterAll(() => opened.close())
  beforeEach(async () => {
    const isWholeList = (nonce: string): boolean => nonce.startsWith('whole')
    cache = await TestCache.open(opened.database, { isWholeList })
  })
  afterEach(() => cache.close())

  const marks = async (): Promise<Record<string, unknown> | undefined> => {
    const [row] = await cache.database.query<Record<string, unknown>>(
      `select members_complete as members, members_as_of is not null as "hasBeen",
        presences_complete as presences, bans_since is not null as bans, gap_at is not null as gap
       from guilds where id = ${GUILD}`,
    )
    return row
  }
  const WHOLE = { members: true, hasBeen: true, presences: true, bans: true, gap: false }

  it('a GUILD_CREATE that lists all members, and one that does not', async () => {
    await cache.commit(['GUILD_CREATE', guildCreate(LARGE), { sequence: 2 }])
    expect(await marks()).toEqual({ ...WHOLE, members: false, hasBeen: false })
    await cache.commit(['GUILD_CREATE', guildCreate(), { sequence: 3 }])
    expect(await marks()).toEqual(WHOLE)
    await cache.commit(['GUILD_CREATE', guildCreate(LARGE), { sequence: 4 }])
    expect(await marks()).toEqual({ ...WHOLE, members: false })
  })

  it('a gap takes the marks, the next whole GUILD_CREATE gives them back', async () => {
    await cache.commit(['GUILD_CREATE', guildCreate(), { sequence: 2 }])
    cache.writer.markMissed(0)
    await cache.writer.flush()
    expect(await marks()).toEqual({ ...WHOLE, members: false, presences: false, gap: true })
    cache.write('GUILD_CREATE', guildCreate(), { sequence: 3 })
    cache.writer.markMissed(0)
    await cache.commit(['GUILD_CREATE', guildCreate(LARGE), { sequence: 4 }])
    expect(await marks()).toEqual({ ...WHOLE, members: false })
  })

  it('a gap of another shard takes nothing', async () => {
    await cache.commit(['GUILD_CREATE', guildCreate(), { sequence: 2 }])
    cache.writer.markMissed(1)
    await cache.writer.flush()
    expect(await marks()).toEqual(WHOLE)
  })

  it('a new session and an outage take them', async () => {
    await cache.commit(['GUILD_CREATE', guildCreate(), { sequence: 2 }])
    await cache.commit(['READY', { guilds: [{ id: GUILD }] }, { sessionId: 'next', sequence: 1 }])
    expect(await marks()).toMatchObject({ members: false, presences: false, gap: true })
    await cache.commit(['GUILD_CREATE', guildCreate(), { sessionId: 'next', sequence: 2 }])
    expect(await marks()).toEqual(WHOLE)
    await cache.commit(['GUILD_DELETE', { id: GUILD, unavailable: true }, { sessionId: 'next' }])
    expect(await marks()).toMatchObject({ members: false, presences: false })
  })

  describe('a whole list by chunks', () => {
    const chunk = (
      members: readonly number[],
      index: number,
      count: number,
      nonce = 'whole',
    ): [string, object] => [
      'GUILD_MEMBERS_CHUNK',
      {
        guild_id: GUILD,
        members: members.map((n) => member(n)),
        chunk_index: index,
        chunk_count: count,
        nonce,
      },
    ]
    const users = (): Promise<string[]> =>
      cache.column(`select user_id::text from members where guild_id = ${GUILD}`)
    const ids = (...all: number[]): string[] => all.map((n) => user(n).id.toString()).sort()

    beforeEach(async () => {
      await cache.commit(['GUILD_CREATE', guildCreate(LARGE), { sequence: 2 }])
    })

    it('completes the guild with the last chunk, and who is in none of them goes', async () => {
      await cache.commit(chunk([10, 11], 0, 3))
      await cache.commit(chunk([12], 1, 3))
      expect(await marks()).toMatchObject({ members: false })
      await cache.commit(
        ['GUILD_MEMBER_ADD', { ...member(20), guild_id: GUILD }],
        ['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: { id: user(11).id } }],
        chunk([13], 2, 3),
      )
      // 3 was in GUILD_CREATE; 20 joined meanwhile, 11 left.
      expect(await users()).toEqual(ids(10, 12, 13, 20))
      expect(await marks()).toMatchObject({ members: true, hasBeen: true })
    })

    it('in one batch with what comes before and behind it', async () => {
      await cache.commit(chunk([10], 0, 2), chunk([11], 1, 2), [
        'GUILD_MEMBER_ADD',
        { ...member(20), guild_id: GUILD },
      ])
      expect(await users()).toEqual(ids(10, 11, 20))
      expect(await marks()).toMatchObject({ members: true })
    })

    it('that was asked for again under the same nonce begins anew', async () => {
      await cache.commit(chunk([10], 0, 2), chunk([11], 0, 2), chunk([12], 1, 2))
      expect(await users()).toEqual(ids(11, 12))
      expect(await marks()).toMatchObject({ members: true })
    })

    it.each<[what: string, happen: () => unknown]>([
      ['a gap', () => cache.writer.markMissed(0)],
      ['an outage', () => cache.write('GUILD_DELETE', { id: GUILD, unavailable: true })],
      ['a GUILD_CREATE', () => cache.write('GUILD_CREATE', guildCreate(LARGE), { sequence: 90 })],
      ['a new session', () => cache.write('READY', { guilds: [{ id: GUILD }] }, { sequence: 1 })],
      ['another owner', () => cache.claim(0, 9)],
    ])('completes nothing after %s in its middle', async (_, happen) => {
      await cache.commit(chunk([10], 0, 2))
      await Promise.resolve(happen())
      await cache.commit(chunk([11], 1, 2))
      expect(await marks()).toMatchObject({ members: false })
      expect(await users()).toEqual(expect.arrayContaining(ids(3, 10, 11)))
    })

    it('completes nothing without its beginning, or when it answers something else', async () => {
      await cache.commit(chunk([11], 1, 2))
      await cache.commit(chunk([12], 0, 1, 'some'))
      expect(await marks()).toMatchObject({ members: false })
      expect(await users()).toEqual(ids(3, 11, 12))
    })
  })

  it('a replayed GUILD_CREATE writes nothing', async () => {
    const create = { guildClass: 'joined', sequence: 2 } as const
    await cache.commit(['GUILD_CREATE', guildCreate(), create])
    const versions = `select xmin::text from guilds union all select xmin::text from members`
    const before = await cache.column(versions)
    await cache.commit(['GUILD_CREATE', guildCreate(), create])
    expect(await cache.column(versions)).toEqual(before)
  })

  it('scheduled events, stage instances and sounds: listed, put one by one, removed, replaced', async () => {
    const ids = (table: string): Promise<string[]> =>
      cache.column(`select id::text from ${table} where guild_id = ${GUILD}`)
    await cache.commit([
      'GUILD_CREATE',
      guildCreate({
        guild_scheduled_events: [{ id: user(1).id, guild_id: GUILD, name: 'a' }],
        stage_instances: [{ id: user(2).id, guild_id: GUILD, topic: 'b' }],
        soundboard_sounds: [{ sound_id: user(3).id, guild_id: GUILD, name: 'c' }],
      }),
    ])
    for (const [table, n] of [
      ['scheduled_events', 1],
      ['stage_instances', 2],
      ['soundboard_sounds', 3],
    ] as const) {
      expect(await ids(table)).toEqual([user(n).id.toString()])
    }
    await cache.commit(
      ['GUILD_SCHEDULED_EVENT_UPDATE', { id: user(1).id, guild_id: GUILD, name: 'renamed' }],
      ['STAGE_INSTANCE_DELETE', { id: user(2).id, guild_id: GUILD }],
      ['GUILD_SOUNDBOARD_SOUND_DELETE', { sound_id: user(3).id, guild_id: GUILD }],
      ['GUILD_SOUNDBOARD_SOUND_CREATE', { sound_id: user(4).id, guild_id: GUILD }],
    )
    expect(await cache.column(`select data->>'name' from scheduled_events`)).toEqual(['renamed'])
    expect(await ids('stage_instances')).toEqual([])
    expect(await ids('soundboard_sounds')).toEqual([user(4).id.toString()])
    await cache.commit([
      'GUILD_SOUNDBOARD_SOUNDS_UPDATE',
      { guild_id: GUILD, soundboard_sounds: [{ sound_id: user(5).id, guild_id: GUILD }] },
    ])
    expect(await ids('soundboard_sounds')).toEqual([user(5).id.toString()])
    await cache.commit(['GUILD_DELETE', { id: GUILD }])
    expect(await ids('scheduled_events')).toEqual([])
    expect(await ids('soundboard_sounds')).toEqual([])
  })
})

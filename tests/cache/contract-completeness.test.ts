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
    cache = await TestCache.open(opened.database)
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

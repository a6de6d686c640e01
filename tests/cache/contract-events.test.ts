import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  channel,
  emoji,
  GUILD,
  guildCreate,
  KINDS,
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

describe.each(KINDS)('cache on %s', (kind) => {
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

  const ids = (table: string, column = 'id'): Promise<string[]> =>
    cache.column(`select ${column}::text from ${table} where guild_id = ${GUILD}`)
  const names = (table: string): Promise<string[]> =>
    cache.column(`select data->>'name' from ${table} where guild_id = ${GUILD}`)
  const guildRow = async (): Promise<Record<string, unknown> | undefined> => {
    const [row] = await cache.database.query<Record<string, unknown>>(
      `select data, unavailable, count_session_id, count_sequence::int4 from guilds where id = ${GUILD}`,
    )
    return row
  }
  const memberCount = async (): Promise<unknown> =>
    ((await guildRow())?.['data'] as Record<string, unknown> | undefined)?.['member_count']
  const membership = (): Promise<Record<string, unknown>[]> =>
    cache.database.query(
      `select id::text, state, session_id, sequence::int4 from guilds_persistent order by id`,
    )

  describe('GUILD_CREATE', () => {
    it('spreads the guild over the tables, ids as strings, without the lists in its own object', async () => {
      await cache.commit(['GUILD_CREATE', guildCreate(), { guildClass: 'joined', sequence: 5 }])
      expect(await guildRow()).toEqual({
        data: {
          id: GUILD.toString(),
          name: 'a guild',
          owner_id: user(1).id.toString(),
          member_count: 2,
          large: false,
          joined_at: '2020-01-01T00:00:00.000000+00:00',
          stickers: [],
        },
        unavailable: false,
        count_session_id: 'session',
        count_sequence: 5,
      })
      expect(await ids('channels')).toEqual([channel(1).id.toString(), channel(2).id.toString()])
      expect(await ids('roles')).toEqual([role(1).id.toString(), role(2).id.toString()])
      expect(await ids('emojis')).toEqual([emoji(1).id.toString()])
      expect(await ids('members', 'user_id')).toEqual([
        user(1).id.toString(),
        user(2).id.toString(),
      ])
      expect(await ids('presence', 'user_id')).toEqual([user(1).id.toString()])
      expect(await ids('voice_states', 'user_id')).toEqual([user(1).id.toString()])
      const threads = await cache.database.query(
        'select id, owner_id, parent_id, guild_id, data from threads',
      )
      expect(threads).toEqual([
        {
          id: thread(1, 1).id.toString(),
          owner_id: user(1).id.toString(),
          parent_id: channel(1).id.toString(),
          guild_id: GUILD.toString(),
          data: {
            id: thread(1, 1).id.toString(),
            parent_id: channel(1).id.toString(),
            owner_id: user(1).id.toString(),
            guild_id: GUILD.toString(),
            name: 'thread 1',
            thread_metadata: { archived: false },
            member_count: 1,
          },
        },
      ])
      const [stored] = await cache.column(`select data from members where user_id = ${user(1).id}`)
      expect(stored).toEqual({
        user: { id: user(1).id.toString(), username: 'user1' },
        roles: [role(1).id.toString()],
        nick: null,
        joined_at: '2020-01-01T00:00:00.000000+00:00',
      })
      expect(await membership()).toEqual([
        { id: GUILD.toString(), state: 'present', session_id: 'session', sequence: 5 },
      ])
      expect(cache.gaps).toEqual([])
    })

    it('replaces what its lists no longer hold, and members when it lists all of them', async () => {
      await cache.commit(['GUILD_CREATE', guildCreate()])
      await cache.commit([
        'GUILD_CREATE',
        guildCreate({
          channels: [channel(2, { name: 'renamed' }), channel(3)],
          emojis: [],
          members: [member(2), member(3)],
          presences: [presence(2, 'idle')],
          roles: [role(2)],
          threads: [thread(2, 2)],
          voice_states: [],
        }),
      ])
      expect(await names('channels')).toEqual(['channel 3', 'renamed'])
      expect(await ids('emojis')).toEqual([])
      expect(await ids('members', 'user_id')).toEqual([
        user(2).id.toString(),
        user(3).id.toString(),
      ])
      expect(await ids('presence', 'user_id')).toEqual([user(2).id.toString()])
      expect(await names('roles')).toEqual(['role 2'])
      expect(await names('threads')).toEqual(['thread 2'])
      expect(await ids('voice_states', 'user_id')).toEqual([])
    })

    it('keeps members that an incomplete list does not name', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate()],
        ['GUILD_CREATE', guildCreate({ member_count: 500, large: true, members: [member(3)] })],
      )
      expect((await ids('members', 'user_id')).length).toBe(3)
      expect(await memberCount()).toBe(500)
    })

    it('keeps presences that the list of one of the largest guilds does not name', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate()],
        ['GUILD_CREATE', guildCreate({ member_count: 80_000, presences: [presence(2, 'idle')] })],
      )
      expect(await ids('presence', 'user_id')).toHaveLength(2)
    })

    it('leaves other guilds, bans and lists that it does not carry alone', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate()],
        ['GUILD_CREATE', guildCreate({ id: OTHER_GUILD, channels: [channel(7)] })],
        ['GUILD_BAN_ADD', { guild_id: GUILD, user: user(9) }],
      )
      const { channels: _channels, ...withoutChannels } = guildCreate({ emojis: [] })
      await cache.commit(['GUILD_CREATE', withoutChannels])
      expect(await ids('channels')).toHaveLength(2)
      expect(await ids('bans', 'user_id')).toEqual([user(9).id.toString()])
      expect(await ids('emojis')).toEqual([])
      expect(
        await cache.column(`select id::text from emojis where guild_id = ${OTHER_GUILD}`),
      ).toHaveLength(1)
    })

    it('replaces rows that came before it in the same batch', async () => {
      await cache.commit(
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(5) }],
        ['CHANNEL_CREATE', channel(5, { guild_id: GUILD })],
        ['GUILD_CREATE', guildCreate()],
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(6) }],
      )
      expect(await names('roles')).toEqual(['role 1', 'role 2', 'role 6'])
      expect(await names('channels')).toEqual(['channel 1', 'channel 2'])
    })

    it('keeps the event of the join when the guild is shown again', async () => {
      await cache.commit(['GUILD_CREATE', guildCreate(), { guildClass: 'joined', sequence: 5 }])
      await cache.commit(['GUILD_CREATE', guildCreate(), { guildClass: 'available', sequence: 9 }])
      expect(await membership()).toMatchObject([{ state: 'present', sequence: 5 }])
    })

    it('remembers a guild that is joined during an outage as joining', async () => {
      await cache.commit([
        'GUILD_CREATE',
        { id: GUILD, unavailable: true },
        { guildClass: 'joining' },
      ])
      expect(await membership()).toMatchObject([{ state: 'joining', sequence: 0 }])
      expect(await guildRow()).toBeUndefined()
    })

    it('is written once when it comes twice', async () => {
      await cache.commit(['GUILD_CREATE', guildCreate(), { guildClass: 'joined', sequence: 5 }])
      const before = await cache.column(
        'select xmin::text from channels union select xmin::text from guilds union select xmin::text from members union select xmin::text from guilds_persistent',
      )
      await cache.commit(['GUILD_CREATE', guildCreate(), { guildClass: 'joined', sequence: 5 }])
      const after = await cache.column(
        'select xmin::text from channels union select xmin::text from guilds union select xmin::text from members union select xmin::text from guilds_persistent',
      )
      expect(after).toEqual(before)
    })
  })

  describe('GUILD_UPDATE and GUILD_DELETE', () => {
    it('merges an update into what only GUILD_CREATE knows', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate()],
        ['GUILD_UPDATE', { id: GUILD, name: 'renamed', roles: [role(1)], emojis: [] }],
      )
      expect((await guildRow())?.['data']).toMatchObject({
        name: 'renamed',
        member_count: 2,
        joined_at: '2020-01-01T00:00:00.000000+00:00',
      })
      expect((await guildRow())?.['data']).not.toHaveProperty('roles')
      await cache.commit(['GUILD_UPDATE', { id: GUILD, name: 'again', icon: null }])
      expect((await guildRow())?.['data']).toMatchObject({
        name: 'again',
        icon: null,
        large: false,
      })
      expect(await ids('roles')).toHaveLength(2)
    })

    it('does not make a guild out of an update', async () => {
      await cache.commit(['GUILD_UPDATE', { id: GUILD, name: 'renamed' }])
      expect(await guildRow()).toBeUndefined()
    })

    it('keeps and marks a guild in an outage, and unmarks it when it is back', async () => {
      await cache.commit(['GUILD_CREATE', guildCreate(), { guildClass: 'joined', sequence: 5 }])
      await cache.commit(['GUILD_DELETE', { id: GUILD, unavailable: true }])
      expect(await guildRow()).toMatchObject({ unavailable: true })
      expect(await ids('channels')).toHaveLength(2)
      expect(await membership()).toMatchObject([{ state: 'unavailable', sequence: 5 }])
      await cache.commit(['GUILD_CREATE', guildCreate(), { guildClass: 'available', sequence: 8 }])
      expect(await guildRow()).toMatchObject({ unavailable: false })
      expect(await membership()).toMatchObject([{ state: 'present', sequence: 5 }])
    })

    it('removes a guild that was left with everything that hangs on it', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate()],
        ['GUILD_BAN_ADD', { guild_id: GUILD, user: user(9) }],
        ['GUILD_CREATE', guildCreate({ id: OTHER_GUILD, channels: [channel(7)] })],
      )
      await cache.commit(['GUILD_DELETE', { id: GUILD }, { guildClass: 'left' }])
      expect(await guildRow()).toBeUndefined()
      for (const table of [
        'bans',
        'channels',
        'emojis',
        'members',
        'presence',
        'roles',
        'threads',
      ]) {
        expect(await ids(table, 'guild_id'), table).toEqual([])
      }
      expect(await ids('voice_states', 'guild_id')).toEqual([])
      expect(await membership()).toMatchObject([{ id: OTHER_GUILD.toString() }])
    })

    it('keeps the order of join, leave and join in one batch', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate(), { guildClass: 'joined', sequence: 1 }],
        ['GUILD_DELETE', { id: GUILD }, { guildClass: 'left', sequence: 2 }],
        [
          'GUILD_CREATE',
          guildCreate({ channels: [channel(3)], members: [member(3)] }),
          { guildClass: 'joined', sequence: 3 },
        ],
      )
      expect(await names('channels')).toEqual(['channel 3'])
      expect(await membership()).toMatchObject([{ state: 'present', sequence: 3 }])
      await cache.commit(
        ['GUILD_UPDATE', { id: GUILD, name: 'renamed' }],
        ['GUILD_DELETE', { id: GUILD }, { guildClass: 'left' }],
      )
      expect(await guildRow()).toBeUndefined()
      expect(await membership()).toEqual([])
    })
  })

  describe('channels and threads', () => {
    beforeEach(() => cache.commit(['GUILD_CREATE', guildCreate()]))

    it('puts and updates a channel, whose guild is a column and not a key', async () => {
      await cache.commit(['CHANNEL_CREATE', channel(3, { guild_id: GUILD, topic: 'a' })])
      await cache.commit(['CHANNEL_UPDATE', channel(3, { guild_id: GUILD, name: 'renamed' })])
      const [stored] = await cache.column(`select data from channels where id = ${channel(3).id}`)
      expect(stored).toEqual({ id: channel(3).id.toString(), type: 0, name: 'renamed' })
    })

    it('ignores a channel that is in no guild', async () => {
      await cache.commit(['CHANNEL_CREATE', channel(8)])
      expect(await ids('channels')).toHaveLength(2)
      expect(cache.gaps).toEqual([])
    })

    it('deletes a channel with its threads', async () => {
      await cache.commit(['THREAD_CREATE', thread(2, 2)])
      await cache.commit(['CHANNEL_DELETE', channel(1, { guild_id: GUILD })])
      expect(await names('channels')).toEqual(['channel 2'])
      expect(await names('threads')).toEqual(['thread 2'])
    })

    it('keeps the order of a channel and its threads in one batch', async () => {
      await cache.commit(
        ['THREAD_CREATE', thread(3, 2)],
        ['CHANNEL_DELETE', channel(2, { guild_id: GUILD })],
        ['CHANNEL_CREATE', channel(2, { guild_id: GUILD, name: 'anew' })],
        ['THREAD_CREATE', thread(4, 2)],
      )
      expect(await names('channels')).toEqual(['anew', 'channel 1'])
      expect(await names('threads')).toEqual(['thread 1', 'thread 4'])
    })

    it('merges the time of the last pin into a channel or a thread, null included', async () => {
      const at = '2026-01-01T00:00:00+00:00'
      await cache.commit(
        [
          'CHANNEL_PINS_UPDATE',
          { guild_id: GUILD, channel_id: channel(1).id, last_pin_timestamp: at },
        ],
        [
          'CHANNEL_PINS_UPDATE',
          { guild_id: GUILD, channel_id: thread(1, 1).id, last_pin_timestamp: null },
        ],
        [
          'CHANNEL_PINS_UPDATE',
          { guild_id: GUILD, channel_id: channel(99).id, last_pin_timestamp: at },
        ],
        ['CHANNEL_PINS_UPDATE', { channel_id: channel(98).id, last_pin_timestamp: at }],
      )
      const [stored] = await cache.column(`select data from channels where id = ${channel(1).id}`)
      expect(stored).toMatchObject({ name: 'channel 1', last_pin_timestamp: at })
      const [pinned] = await cache.column(`select data from threads where id = ${thread(1, 1).id}`)
      expect(pinned).toMatchObject({ name: 'thread 1', last_pin_timestamp: null })
      expect(await ids('channels')).toHaveLength(2)
    })

    it('merges a thread update, which lacks the own membership', async () => {
      await cache.commit([
        'THREAD_CREATE',
        thread(2, 1, { newly_created: true, member: { flags: 1 } }),
      ])
      await cache.commit(['THREAD_UPDATE', thread(2, 1, { name: 'renamed' })])
      const [stored] = await cache.column(`select data from threads where id = ${thread(2, 1).id}`)
      expect(stored).toMatchObject({ name: 'renamed', member: { flags: 1 } })
      expect(stored).not.toHaveProperty('newly_created')
    })

    it('drops a thread that is archived or deleted, and takes it back', async () => {
      await cache.commit(['THREAD_CREATE', thread(2, 1)])
      const archived = { thread_metadata: { archived: true } }
      await cache.commit(
        ['THREAD_UPDATE', thread(2, 1, archived)],
        [
          'THREAD_DELETE',
          { id: thread(1, 1).id, guild_id: GUILD, parent_id: channel(1).id, type: 11 },
        ],
      )
      expect(await names('threads')).toEqual([])
      await cache.commit(['THREAD_UPDATE', thread(2, 1)])
      expect(await names('threads')).toEqual(['thread 2'])
    })

    it('replaces the threads of the synced channels, or of the guild', async () => {
      await cache.commit(['THREAD_CREATE', thread(2, 1)], ['THREAD_CREATE', thread(3, 2)])
      await cache.commit([
        'THREAD_LIST_SYNC',
        { guild_id: GUILD, channel_ids: [channel(1).id], threads: [thread(4, 1)], members: [] },
      ])
      expect(await names('threads')).toEqual(['thread 3', 'thread 4'])
      await cache.commit(['THREAD_LIST_SYNC', { guild_id: GUILD, threads: [thread(5, 2)] }])
      expect(await names('threads')).toEqual(['thread 5'])
    })

    it('keeps the count of a thread', async () => {
      await cache.commit([
        'THREAD_MEMBERS_UPDATE',
        { id: thread(1, 1).id, guild_id: GUILD, member_count: 7, removed_member_ids: [user(1).id] },
      ])
      expect(await cache.column(`select data->'member_count' from threads`)).toEqual([7])
    })
  })

  describe('roles and emojis', () => {
    beforeEach(() => cache.commit(['GUILD_CREATE', guildCreate()]))

    it('puts a role', async () => {
      await cache.commit(
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(3) }],
        ['GUILD_ROLE_UPDATE', { guild_id: GUILD, role: role(1, { name: 'renamed' }) }],
      )
      expect(await names('roles')).toEqual(['renamed', 'role 2', 'role 3'])
    })

    it('strips a deleted role from the members, also from those that came in the same batch', async () => {
      await cache.commit([
        'GUILD_MEMBER_UPDATE',
        { guild_id: GUILD, ...member(2, { roles: [role(2).id, role(1).id] }) },
      ])
      await cache.commit(
        [
          'GUILD_MEMBER_ADD',
          { guild_id: GUILD, ...member(3, { roles: [role(1).id, role(2).id] }) },
        ],
        ['GUILD_ROLE_DELETE', { guild_id: GUILD, role_id: role(1).id }],
        ['GUILD_ROLE_DELETE', { guild_id: GUILD, role_id: role(9).id }],
      )
      const roles = await cache.database.query(
        `select user_id, data->'roles' as roles from members order by user_id`,
      )
      expect(roles).toEqual([
        { user_id: user(1).id.toString(), roles: [] },
        { user_id: user(2).id.toString(), roles: [role(2).id.toString()] },
        { user_id: user(3).id.toString(), roles: [role(2).id.toString()] },
      ])
      expect(await names('roles')).toEqual(['role 2'])
    })

    it('strips two roles of one guild at once', async () => {
      await cache.commit(
        [
          'GUILD_MEMBER_UPDATE',
          { guild_id: GUILD, ...member(1, { roles: [role(1).id, role(2).id] }) },
        ],
        ['GUILD_ROLE_DELETE', { guild_id: GUILD, role_id: role(1).id }],
        ['GUILD_ROLE_DELETE', { guild_id: GUILD, role_id: role(2).id }],
      )
      expect(await cache.column(`select data->'roles' from members`)).toEqual([[], []])
    })

    it('gives a role that is created anew to those who get it later', async () => {
      await cache.commit(
        ['GUILD_ROLE_DELETE', { guild_id: GUILD, role_id: role(1).id }],
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(1) }],
        ['GUILD_MEMBER_UPDATE', { guild_id: GUILD, ...member(2, { roles: [role(1).id] }) }],
      )
      expect(
        await cache.column(
          `select user_id::text from members where data->'roles' ? '${role(1).id}'`,
        ),
      ).toEqual([user(2).id.toString()])
      expect(await names('roles')).toEqual(['role 1', 'role 2'])
    })

    it('replaces the emojis, and the stickers inside the guild', async () => {
      await cache.commit(
        ['GUILD_EMOJIS_UPDATE', { guild_id: GUILD, emojis: [emoji(2), emoji(3)] }],
        ['GUILD_EMOJIS_UPDATE', { guild_id: GUILD, emojis: [emoji(3), emoji(4)] }],
        ['GUILD_STICKERS_UPDATE', { guild_id: GUILD, stickers: [{ id: emoji(9).id, name: 's' }] }],
      )
      expect(await names('emojis')).toEqual(['emoji3', 'emoji4'])
      expect((await guildRow())?.['data']).toMatchObject({
        member_count: 2,
        stickers: [{ id: emoji(9).id.toString(), name: 's' }],
      })
      await cache.commit(['GUILD_EMOJIS_UPDATE', { guild_id: GUILD, emojis: [] }])
      expect(await ids('emojis')).toEqual([])
    })
  })

  describe('members', () => {
    it('adds, merges and removes, and moves the count', async () => {
      await cache.commit(['GUILD_CREATE', guildCreate(), { sequence: 10 }])
      await cache.commit(['GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(3) }])
      expect(await memberCount()).toBe(3)
      await cache.commit([
        'GUILD_MEMBER_UPDATE',
        { guild_id: GUILD, user: user(3), roles: [], nick: 'nick' },
      ])
      const [stored] = await cache.column(`select data from members where user_id = ${user(3).id}`)
      expect(stored).toEqual({
        user: { id: user(3).id.toString(), username: 'user3' },
        roles: [],
        nick: 'nick',
        joined_at: '2020-01-01T00:00:00.000000+00:00',
      })
      await cache.commit(['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: user(1) }])
      expect(await ids('members', 'user_id')).toEqual([
        user(2).id.toString(),
        user(3).id.toString(),
      ])
      expect(await ids('presence', 'user_id')).toEqual([])
      expect(await ids('voice_states', 'user_id')).toEqual([])
      expect(await memberCount()).toBe(2)
    })

    it('joins several changes of one member in one batch', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate(), { sequence: 10 }],
        ['GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(3) }],
        ['GUILD_MEMBER_UPDATE', { guild_id: GUILD, user: user(3), nick: 'a' }],
        ['GUILD_MEMBER_UPDATE', { guild_id: GUILD, user: user(3), pending: false }],
        ['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: user(2) }],
        ['GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(2, { nick: 'back' }) }],
        ['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: user(1) }],
      )
      const nicks = await cache.database.query(
        `select user_id, data->'nick' as nick, data->'pending' as pending from members order by 1`,
      )
      expect(nicks).toEqual([
        { user_id: user(2).id.toString(), nick: 'back', pending: null },
        { user_id: user(3).id.toString(), nick: 'a', pending: false },
      ])
      expect(await memberCount()).toBe(2)
    })

    it('moves the count once for a repeat, and not for another session', async () => {
      await cache.commit(['GUILD_CREATE', guildCreate(), { sequence: 10 }])
      const add = { guild_id: GUILD, ...member(3) }
      await cache.commit(['GUILD_MEMBER_ADD', add, { sequence: 11 }])
      await cache.commit(['GUILD_MEMBER_ADD', add, { sequence: 11 }])
      await cache.commit(['GUILD_MEMBER_ADD', add, { sequence: 9 }])
      await cache.commit(['GUILD_MEMBER_ADD', add, { sequence: 12, sessionId: 'another' }])
      expect(await memberCount()).toBe(3)
      await cache.commit(
        ['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: user(3) }, { sequence: 12 }],
        ['GUILD_CREATE', guildCreate({ member_count: 50 }), { sequence: 13 }],
        ['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: user(2) }, { sequence: 14 }],
      )
      expect(await memberCount()).toBe(49)
    })

    it.each(['one by one', 'in one batch'])(
      'counts who comes or goes twice once, told %s',
      async (how) => {
        const tell = (...events: Parameters<typeof cache.commit>): Promise<void> =>
          how === 'in one batch'
            ? cache.commit(...events)
            : events.reduce((before, event) => before.then(() => cache.commit(event)), done)
        const done = Promise.resolve()
        const add = (n: number) => ['GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(n) }] as const
        const remove = (n: number) =>
          ['GUILD_MEMBER_REMOVE', { guild_id: GUILD, user: user(n) }] as const
        await tell(['GUILD_CREATE', guildCreate(), { sequence: 10 }])
        // Who is there may be added again. See [Discord Docs/Gateway Events#guild-member-add].
        await tell([...add(1)], [...add(3)], [...add(3)], [...remove(9)])
        expect(await memberCount()).toBe(3)
        await tell([...remove(1)], [...remove(1)], [...add(1)], [...add(1)], [...remove(2)])
        expect(await memberCount()).toBe(2)
        expect((await ids('members', 'user_id')).length).toBe(2)
      },
    )

    it('counts by what its rows tell where they do not tell all', async () => {
      const large = guildCreate({ member_count: 500, large: true, members: [member(1)] })
      await cache.commit(['GUILD_CREATE', large, { sequence: 10 }])
      const add = (n: number): object => ({ guild_id: GUILD, ...member(n) })
      const remove = (n: number): object => ({ guild_id: GUILD, user: user(n) })
      await cache.commit(['GUILD_MEMBER_ADD', add(1), { sequence: 11 }])
      await cache.commit(['GUILD_MEMBER_ADD', add(2), { sequence: 12 }])
      await cache.commit(['GUILD_MEMBER_ADD', add(2), { sequence: 13 }])
      expect(await memberCount()).toBe(501)
      // No row tells of user 7: the sequence decides, and a replay brings it again.
      const replay = async (): Promise<void> => {
        await cache.commit(
          ['GUILD_MEMBER_REMOVE', remove(7), { sequence: 14 }],
          ['GUILD_MEMBER_REMOVE', remove(1), { sequence: 15 }],
          ['GUILD_MEMBER_ADD', add(1), { sequence: 16 }],
          ['GUILD_MEMBER_ADD', add(8), { sequence: 17 }],
          ['GUILD_MEMBER_REMOVE', remove(8), { sequence: 18 }],
        )
      }
      await replay()
      expect(await memberCount()).toBe(500)
      await replay()
      expect(await memberCount()).toBe(500)
      cache.write('GUILD_MEMBER_REMOVE', remove(9), { sequence: 19 })
      await cache.commit(['GUILD_MEMBER_REMOVE', remove(9), { sequence: 19 }])
      expect(await memberCount()).toBe(499)
    })

    it.each([
      ['small', guildCreate()],
      ['large', guildCreate({ member_count: 500, large: true, members: [member(1)] })],
    ])('replays from wherever to the same state: a %s guild', async (_size, create) => {
      const of = (n: number): object => ({ guild_id: GUILD, user: user(n) })
      const add = (n: number): object => ({ guild_id: GUILD, ...member(n) })
      const events: [name: string, d: object][] = [
        ['GUILD_CREATE', create],
        ['GUILD_MEMBER_ADD', add(3)],
        ['GUILD_MEMBER_ADD', add(4)],
        ['GUILD_MEMBER_UPDATE', { ...of(2), nick: 'b' }],
        ['GUILD_MEMBER_REMOVE', of(2)],
        ['GUILD_MEMBER_REMOVE', of(3)],
        ['GUILD_MEMBER_ADD', add(5)],
        ['GUILD_MEMBER_REMOVE', of(5)],
        ['GUILD_MEMBER_ADD', add(5)],
      ]
      const replay = (from: number, to = events.length): Promise<void> =>
        cache.commit(
          ...events
            .map(([name, d], index) => [name, d, { sequence: 10 + index }] as const)
            .slice(from, to)
            .map(([name, d, options]): [string, object, object] => [name, d, options]),
        )
      await replay(0)
      const count = Number((create as { member_count: number }).member_count) + 1
      const members = await ids('members', 'user_id')
      expect(await memberCount()).toBe(count)
      for (let from = 0; from < events.length; from++) {
        // The first successor dies on its way.
        await replay(from, from + 3)
        await replay(from)
        expect([from, await memberCount(), await ids('members', 'user_id')]).toEqual([
          from,
          count,
          members,
        ])
      }
    })

    it('takes a member event before its guild', async () => {
      await cache.commit(['GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(1) }])
      await cache.commit(['GUILD_MEMBER_UPDATE', { guild_id: GUILD, ...member(2) }])
      expect((await ids('members', 'user_id')).length).toBe(2)
      expect(await guildRow()).toBeUndefined()
    })

    it('takes a chunk with its presences', async () => {
      await cache.commit([
        'GUILD_MEMBERS_CHUNK',
        {
          guild_id: GUILD,
          members: [member(1), member(2), member(3)],
          presences: [presence(1, 'dnd'), presence(2, 'offline')],
          chunk_index: 0,
          chunk_count: 1,
          nonce: 'n',
        },
      ])
      expect((await ids('members', 'user_id')).length).toBe(3)
      expect(await ids('presence', 'user_id')).toEqual([user(1).id.toString()])
    })
  })

  describe('presences, voice states and bans', () => {
    it('puts a presence of a partial user, and removes it when he is offline', async () => {
      await cache.commit([
        'PRESENCE_UPDATE',
        { guild_id: GUILD, ...presence(1, 'online', { client_status: { web: 'online' } }) },
      ])
      expect(await cache.column(`select data from presence`)).toEqual([
        {
          user: { id: user(1).id.toString() },
          status: 'online',
          activities: [],
          client_status: { web: 'online' },
        },
      ])
      await cache.commit(['PRESENCE_UPDATE', { guild_id: GUILD, ...presence(1, 'offline') }])
      expect(await ids('presence', 'user_id')).toEqual([])
    })

    it('takes field types that Discord does not validate', async () => {
      await cache.commit([
        'PRESENCE_UPDATE',
        { guild_id: GUILD, user: { id: user(1).id }, status: 7, activities: 'none' },
      ])
      expect(await ids('presence', 'user_id')).toEqual([user(1).id.toString()])
    })

    it('puts a voice state without the member, and removes it without a channel', async () => {
      const state = { guild_id: GUILD, user_id: user(1).id, member: member(1), session_id: 's' }
      await cache.commit(['VOICE_STATE_UPDATE', { ...state, channel_id: channel(1).id }])
      expect(await cache.column('select data from voice_states')).toEqual([
        { user_id: user(1).id.toString(), session_id: 's', channel_id: channel(1).id.toString() },
      ])
      await cache.commit(['VOICE_STATE_UPDATE', { ...state, channel_id: null }])
      expect(await ids('voice_states', 'user_id')).toEqual([])
    })

    it('keeps bans', async () => {
      await cache.commit(
        ['GUILD_BAN_ADD', { guild_id: GUILD, user: user(1) }],
        ['GUILD_BAN_ADD', { guild_id: GUILD, user: user(2) }],
        ['GUILD_BAN_REMOVE', { guild_id: GUILD, user: user(1) }],
      )
      expect(await cache.column('select data from bans')).toEqual([
        { user: { id: user(2).id.toString(), username: 'user2' } },
      ])
    })
  })

  describe('READY', () => {
    const ready = {
      v: 10,
      guilds: [
        { id: GUILD, unavailable: true },
        { id: OTHER_GUILD, unavailable: true },
      ],
    }

    it('fills the membership of a new shard silently, once', async () => {
      await cache.commit(['READY', ready])
      expect(await membership()).toMatchObject([
        { id: GUILD.toString(), state: 'backfill', session_id: '' },
        { id: OTHER_GUILD.toString(), state: 'backfill', session_id: '' },
      ])
      await cache.commit(['GUILD_DELETE', { id: OTHER_GUILD }, { guildClass: 'left' }])
      await cache.commit(['READY', ready])
      expect(await membership()).toMatchObject([{ id: GUILD.toString() }])
    })

    it('comes before the guilds of its batch', async () => {
      await cache.commit(
        ['READY', ready, { sequence: 1 }],
        ['GUILD_CREATE', guildCreate(), { guildClass: 'backfill', sequence: 2 }],
      )
      expect(await membership()).toMatchObject([{ state: 'present' }, { state: 'backfill' }])
    })

    it('removes guilds that were left meanwhile, or only marks them when that is doubtful', async () => {
      await cache.commit(
        ['GUILD_CREATE', guildCreate(), { guildClass: 'joined' }],
        ['GUILD_CREATE', guildCreate({ id: OTHER_GUILD }), { guildClass: 'joined' }],
      )
      cache.writer.writeLeft(0, [GUILD], true)
      await cache.writer.flush()
      expect(await guildRow()).toMatchObject({ unavailable: true })
      expect(await membership()).toMatchObject([{ state: 'unavailable' }, { state: 'present' }])
      cache.writer.writeLeft(0, [GUILD], false)
      await cache.writer.flush()
      expect(await guildRow()).toBeUndefined()
      expect(await ids('channels')).toEqual([])
      expect(await membership()).toMatchObject([{ id: OTHER_GUILD.toString() }])
    })
  })
})

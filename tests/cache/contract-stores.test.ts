import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Fleet, GuildMembership, IdentifyLog, migrate, SpillStore } from '../../src/cache/index.ts'
import { readMigrations } from '../../src/cache/migrate.ts'
import {
  BOT,
  channel,
  deps,
  GUILD,
  guildCreate,
  KINDS,
  openTestDatabase,
  type OpenDatabase,
  role,
  TestCache,
} from './cache-setup.ts'
import { describeReplay } from './replay-suite.ts'
import { describeVoice } from './voice-suite.ts'

const SESSION = {
  sessionId: 'a session',
  resumeGatewayUrl: 'wss://gateway-us-east1-b.discord.gg',
  sequence: 1,
  shardCount: 4,
  intents: 513,
  query: { v: 10, encoding: 'etf', compress: 'zlib-stream' },
} as const

describe.each(KINDS)('stores on %s', (kind) => {
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

  const fence = (revision: number, epoch = 1): { epoch: number; revision: number } => ({
    epoch,
    revision,
  })

  describe('session store', () => {
    it('gives the session to the next owner, with what it takes for a RESUME', async () => {
      const { sessions } = cache
      expect(await sessions.takeOver(9, fence(3))).toEqual({ owned: true, session: null })
      expect(await sessions.saveSession(9, fence(3), SESSION)).toBe(true)
      expect(
        await sessions.saveAcknowledged([
          { shardId: 9, fence: fence(3), sessionId: SESSION.sessionId, sequence: 77 },
        ]),
      ).toEqual([])
      expect(await sessions.takeOver(9, fence(4))).toEqual({
        owned: true,
        session: { ...SESSION, sequence: 77 },
      })
    })

    it('compares the epoch before the revision, and takes a repeat of the same claim', async () => {
      const { sessions } = cache
      expect(await sessions.takeOver(9, fence(100, 1))).toMatchObject({ owned: true })
      expect(await sessions.takeOver(9, fence(100, 1))).toMatchObject({ owned: true })
      expect(await sessions.takeOver(9, fence(99, 1))).toEqual({ owned: false, session: null })
      expect(await sessions.takeOver(9, fence(1, 2))).toMatchObject({ owned: true })
      expect(await sessions.takeOver(9, fence(200, 1))).toMatchObject({ owned: false })
      expect(await sessions.holds(9, fence(1, 2))).toBe(true)
      expect(await sessions.holds(9, fence(100, 1))).toBe(false)
    })

    it('refuses everything under a lost fence', async () => {
      const { sessions } = cache
      await sessions.takeOver(9, fence(3))
      await sessions.saveSession(9, fence(3), SESSION)
      await sessions.takeOver(9, fence(4))
      const entry = { fence: fence(3), sessionId: SESSION.sessionId, sequence: 50 }
      expect(await sessions.saveSession(9, fence(3), { ...SESSION, sessionId: 'x' })).toBe(false)
      expect(await sessions.dropSession(9, fence(3), SESSION.sessionId)).toBe(false)
      expect(await sessions.saveAcknowledged([{ ...entry, shardId: 9 }])).toEqual([9])
      expect(await sessions.takeOver(9, fence(5))).toMatchObject({ session: SESSION })
    })

    it('only raises the sequence, and only of the session that it names', async () => {
      const { sessions } = cache
      await sessions.takeOver(9, fence(3))
      await sessions.saveSession(9, fence(3), { ...SESSION, sequence: 10 })
      const entry = { shardId: 9, fence: fence(3), sessionId: SESSION.sessionId }
      const saved = async (...sequences: number[]): Promise<number | undefined> => {
        for (const sequence of sequences) await sessions.saveAcknowledged([{ ...entry, sequence }])
        return (await sessions.takeOver(9, fence(3))).session?.sequence
      }
      expect(await saved(20)).toBe(20)
      expect(await saved(15)).toBe(20)
      expect(
        await sessions.saveAcknowledged([{ ...entry, sessionId: 'another', sequence: 99 }]),
      ).toEqual([])
      expect(await saved(0)).toBe(20)
    })

    it('saves many shards at once and names those that are lost', async () => {
      const { sessions } = cache
      for (const shardId of [1, 2, 3]) await sessions.saveSession(shardId, fence(1), SESSION)
      await sessions.takeOver(2, fence(2))
      const entries = [3, 1, 2, 8].map((shardId) => ({
        shardId,
        fence: fence(1),
        sessionId: SESSION.sessionId,
        sequence: 40 + shardId,
      }))
      expect(await sessions.saveAcknowledged(entries)).toEqual([2, 8])
      expect(
        await cache.database.query(
          'select shard, sequence::int4 from gateway_sessions where sequence > 1 order by 1',
        ),
      ).toEqual([
        { shard: 1, sequence: 41 },
        { shard: 3, sequence: 43 },
      ])
    })

    it('saves what lies in spills with the sequences, replaces it, and gives it away once', async () => {
      const { sessions, database, fleet } = cache
      await sessions.saveSession(1, fence(1), SESSION)
      const spills = new SpillStore({ database, fleet })
      const [a, b, c] = ['a', 'b', 'c'].map(
        (digit) => `${digit.repeat(8)}-1111-4111-8111-111111111111`,
      )
      const range = { shardId: 1, sessionId: 's', from: 5, to: 2 ** 40, events: 7 }
      const holding = { spillId: a!, destination: 'redis', takenOver: [], ranges: [range] }
      const entry = { shardId: 1, fence: fence(1), sessionId: SESSION.sessionId, sequence: 90 }
      const two = [range, { ...range, sessionId: 't' }]
      expect(
        await sessions.saveAcknowledged(
          [entry],
          [holding, { ...holding, spillId: b!, destination: 'x', ranges: two }],
        ),
      ).toEqual([])
      const stored = { spillId: a, worker: 'test', destination: 'redis', ...range }
      const other = { ...stored, spillId: b, destination: 'x' }
      expect(await spills.all()).toMatchObject([stored, other, { ...other, sessionId: 't' }])
      expect((await sessions.takeOver(1, fence(1))).session?.sequence).toBe(90)

      // Without a sequence; one range has moved, one is gone.
      const moved = { ...range, from: 6, events: 2 }
      expect(
        await sessions.saveAcknowledged([], [{ ...holding, spillId: b!, ranges: [moved] }]),
      ).toEqual([])
      expect(await spills.all()).toMatchObject([stored, { spillId: b, ...moved }])

      // A spill that took over two others; one that is empty.
      await sessions.saveAcknowledged([], [{ ...holding, spillId: c!, takenOver: [a!, b!] }])
      expect(await spills.all()).toMatchObject([{ ...stored, spillId: c }])
      expect(await spills.take('no id')).toEqual([])
      const taken = await Promise.all([spills.take(c!), spills.take(c!)])
      expect(taken.map((rows) => rows.length).sort((a, b) => a - b)).toEqual([0, 1])
      await sessions.saveAcknowledged([], [{ ...holding, spillId: c!, ranges: [] }])
      expect(await spills.all()).toEqual([])
    })

    it('drops the session that it names and no other', async () => {
      const { sessions } = cache
      await sessions.takeOver(9, fence(3))
      await sessions.saveSession(9, fence(3), SESSION)
      expect(await sessions.dropSession(9, fence(3), 'another')).toBe(true)
      expect(await sessions.takeOver(9, fence(3))).toMatchObject({ session: SESSION })
      expect(await sessions.dropSession(9, fence(3), SESSION.sessionId)).toBe(true)
      expect(await sessions.takeOver(9, fence(3))).toEqual({ owned: true, session: null })
    })

    it('shows the sessions as the ancestor did, read only', async () => {
      await cache.sessions.saveSession(1, fence(1), SESSION)
      expect(await cache.database.query('select * from shards')).toEqual([
        {
          id: 1,
          name: 'test',
          seq: '1',
          sess: SESSION.sessionId,
          status: '',
          resume_url: SESSION.resumeGatewayUrl,
        },
      ])
      await expect(cache.database.query('delete from shards')).rejects.toThrow(/view/)
    })
  })

  describe('fences of the rows', () => {
    it('leaves out the rows of a lost shard, commits the others, and says so once', async () => {
      await cache.commit(
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(1) }, { shardId: 0 }],
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(2) }, { shardId: 2 }],
      )
      await cache.sessions.takeOver(0, fence(2))
      await cache.commit(
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(3) }, { shardId: 0 }],
        ['GUILD_ROLE_DELETE', { guild_id: GUILD, role_id: role(1).id }, { shardId: 0 }],
        ['CHANNEL_CREATE', channel(1, { guild_id: GUILD }), { shardId: 2 }],
        ['READY', { guilds: [{ id: GUILD }] }, { shardId: 0 }],
        ['GUILD_CREATE', guildCreate(), { shardId: 0 }],
      )
      await cache.commit(['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(4) }, { shardId: 0 }])
      expect(await cache.column(`select data->>'name' from roles`)).toEqual(['role 1', 'role 2'])
      expect(await cache.column(`select data->>'name' from channels`)).toEqual(['channel 1'])
      expect(await cache.column(`select state from guilds_persistent`)).toEqual([])
      expect(cache.lost).toEqual([0])
      expect(cache.gaps).toEqual([])
    })

    it('settles what it left out, so that nothing waits for it', async () => {
      await cache.sessions.takeOver(1, fence(2))
      const ticket = cache.write(
        'GUILD_ROLE_CREATE',
        { guild_id: GUILD, role: role(1) },
        { shardId: 1 },
      )
      await cache.writer.flush()
      expect(cache.settled.at(-1)).toEqual([cache.writer.laneOf(1), ticket])
    })

    it('writes nothing for a shard that was never claimed', async () => {
      await cache.commit(['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(1) }, { shardId: 40 }])
      expect(await cache.column('select id from roles')).toEqual([])
      expect(cache.lost).toEqual([])
    })

    it('tells rows of an older claim of its own from those of the new one', async () => {
      const role3 = { guild_id: GUILD, role: role(3) }
      cache.write('GUILD_ROLE_CREATE', role3)
      // In between the shard was somebody else's.
      await cache.sessions.takeOver(0, fence(2))
      expect(await cache.claim(0, 3)).toBe(true)
      cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(4) })
      await cache.writer.flush()
      expect(await cache.column(`select data->>'name' from roles`)).toContain('role 4')
      expect(cache.lost).toEqual([])
    })

    it('settles tickets of a lane in order', async () => {
      const tickets: number[] = []
      for (let n = 0; n < 20; n++) {
        tickets.push(cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(n) }))
        if (n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 6))
      }
      await cache.writer.flush()
      const settled = cache.settled.filter(([lane]) => lane === 0).map(([, ticket]) => ticket)
      expect(settled).toEqual([...settled].sort((a, b) => a - b))
      expect(settled.at(-1)).toBe(tickets.at(-1))
      expect(await cache.column('select id from roles')).toHaveLength(20)
    })
  })

  describe('membership', () => {
    it('loads the guilds of a shard by the formula, filled after its first READY', async () => {
      const membership = new GuildMembership(cache)
      const shardOf = Number((GUILD >> 22n) % 4n)
      expect(await membership.load(shardOf, 4)).toMatchObject({ filled: false, rows: [] })
      await cache.commit([
        'READY',
        { guilds: [{ id: GUILD, unavailable: true }] },
        { shardId: shardOf },
      ])
      expect(await membership.load(shardOf, 4)).toMatchObject({
        filled: true,
        rows: [{ guildId: GUILD, state: 'backfill', sessionId: '', sequence: 0 }],
      })
      expect((await membership.load((shardOf + 1) % 4, 4)).rows).toEqual([])
      await cache.commit([
        'GUILD_CREATE',
        guildCreate(),
        { shardId: shardOf, guildClass: 'joined', sequence: 12, sessionId: 's' },
      ])
      expect((await membership.load(0, 1)).rows).toEqual([
        { guildId: GUILD, state: 'present', sessionId: 's', sequence: 12 },
      ])
    })
  })

  describeReplay(() => cache)
  describeVoice(() => cache)

  describe('identify log', () => {
    it('counts the identifies of the bot and of one shard', async () => {
      const log = new IdentifyLog(cache)
      const now = 1_700_000_000_000
      for (const [shardId, atMs] of [
        [0, now - 1000],
        [1, now],
        [1, now + 5000],
      ] as const) {
        await log.record({ shardId, atMs, worker: 'w', why: 'first' })
      }
      expect(await log.countSince(now, 1)).toEqual({ all: 2, shard: 2 })
      expect(await log.countSince(now - 2000, 0)).toEqual({ all: 3, shard: 1 })
      expect(await log.countSince(now + 6000, 0)).toEqual({ all: 0, shard: 0 })
    })

    it('names the recent ones with their times, of this bot only', async () => {
      const log = new IdentifyLog(cache)
      const now = 1_700_000_000_123
      for (const [shardId, atMs] of [
        [3, now],
        [1, now - 4000],
        [2, now - 9000],
      ] as const) {
        await log.record({ shardId, atMs, worker: 'w', why: 'first' })
      }
      await cache.database.query(
        'update gateway_identifies set bot_user_id = 1, sent_at = now() where shard = 2',
      )
      await log.record({ shardId: 0, atMs: now - 6000, worker: 'w', why: 'first' })
      expect(await log.recent(now - 6000)).toEqual([
        { shardId: 0, atMs: now - 6000 },
        { shardId: 1, atMs: now - 4000 },
        { shardId: 3, atMs: now },
      ])
    })
  })

  describe('fleet', () => {
    it('refuses another bot and another name', async () => {
      await expect(
        Fleet.open(cache.database, { name: 'test', botUserId: BOT + 1n }),
      ).rejects.toMatchObject({ code: 'CACHE_OTHER_BOT' })
      await expect(
        Fleet.open(cache.database, { name: 'other', botUserId: BOT }),
      ).rejects.toMatchObject({ code: 'CACHE_OTHER_FLEET' })
    })

    it('stores shard count and intents', async () => {
      expect([cache.fleet.shardCount, cache.fleet.intents]).toEqual([null, null])
      await cache.fleet.saveShape({ shardCount: 16, intents: 513 })
      const again = await Fleet.open(cache.database, { name: 'test', botUserId: BOT })
      expect([again.shardCount, again.intents]).toEqual([16, 513])
    })

    it('forgets the sessions of shards that a smaller count does not have, and names them', async () => {
      const sessions = cache.sessions
      for (const shardId of [1, 2]) {
        const fence = { epoch: 1, revision: shardId }
        await sessions.takeOver(shardId, fence)
        await sessions.saveSession(shardId, fence, {
          sessionId: `s${shardId}`,
          resumeGatewayUrl: 'wss://x',
          sequence: 7,
          shardCount: 4,
          intents: 1,
          query: { v: 10, encoding: 'etf', compress: 'none' },
        })
      }
      expect(await cache.fleet.saveShape({ shardCount: 2, intents: 1 })).toEqual([
        { shardId: 2, sessionId: 's2', sequence: 7 },
      ])
      expect(await cache.fleet.saveShape({ shardCount: 2, intents: 1 })).toEqual([])
    })

    it('raises the epoch at each start without etcd, and with etcd when the kind changes', async () => {
      const { fleet } = cache
      const epochs = [
        await fleet.raiseEpoch('memory'),
        await fleet.raiseEpoch('memory'),
        await fleet.raiseEpoch('etcd'),
        await fleet.raiseEpoch('etcd'),
        await fleet.raiseEpoch('memory'),
      ]
      expect(epochs).toEqual([1, 2, 3, 3, 4])
      expect(new Set(await Promise.all([1, 2, 3].map(() => fleet.raiseEpoch('memory')))).size).toBe(
        3,
      )
    })
  })

  describe('migrations', () => {
    it('runs each file once, in order', async () => {
      const more = [
        ...readMigrations(),
        { number: 9001, name: '9001_a.sql', sql: 'create table extra (id int4)' },
        { number: 9002, name: '9002_b.sql', sql: 'alter table extra add column more text' },
      ]
      const migrations = { ...deps, migrations: more }
      expect((await migrate(cache.database, migrations)).applied).toEqual([
        '9001_a.sql',
        '9002_b.sql',
      ])
      expect(await migrate(cache.database, migrations)).toEqual({ applied: [], version: 9002 })
      // An older program beside it knows fewer.
      expect(await migrate(cache.database, deps)).toEqual({ applied: [], version: 9002 })
    })

    it('refuses a file that changed after it ran, by name', async () => {
      const [first, ...rest] = readMigrations()
      const changed = [{ ...first!, sql: `${first!.sql}\n-- edited` }, ...rest]
      await expect(migrate(cache.database, { ...deps, migrations: changed })).rejects.toMatchObject(
        {
          code: 'CACHE_MIGRATION_CHANGED',
          message: expect.stringContaining('0001_state.sql') as string,
        },
      )
    })

    it('leaves nothing of a file that fails', async () => {
      const broken = {
        number: 9100,
        name: '9100_broken.sql',
        sql: 'create table half (id int4); select nonsense',
      }
      await expect(
        migrate(cache.database, { ...deps, migrations: [broken] }),
      ).rejects.toMatchObject({ code: 'CACHE_MIGRATION_FAILED' })
      await expect(cache.database.query('select * from half')).rejects.toThrow(/half/)
    })
  })

  describe('rows that cannot be written', () => {
    const deep = (levels: number): unknown => {
      let value: unknown = 1
      for (let level = 0; level < levels; level++) value = [value]
      return value
    }

    it('drops the NUL that jsonb cannot hold, and keeps the row', async () => {
      await cache.commit([
        'GUILD_ROLE_CREATE',
        { guild_id: GUILD, role: role(1, { name: 'a\0b', 'k\0': 1 }) },
      ])
      expect(await cache.column(`select data->>'name' from roles`)).toEqual(['ab'])
      expect(cache.gaps).toEqual([])
    })

    it('finds the row that the database refuses, counts it, and writes the others', async () => {
      // Class 22 by a check that stands for whatever a later Postgres may refuse in a document.
      await cache.database.query(
        `create or replace function test_refuse() returns trigger language plpgsql as
         $$ begin if new.data->>'name' = 'poison' then raise exception 'refused' using errcode = '22000'; end if; return new; end $$`,
      )
      await cache.database.query(
        'create trigger test_refuse before insert or update on roles for each row execute function test_refuse()',
      )
      try {
        for (let n = 0; n < 30; n++) {
          const name = n === 7 || n === 23 ? 'poison' : `role ${n}`
          cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(n, { name }) })
        }
        cache.write('CHANNEL_CREATE', channel(1, { guild_id: GUILD }))
        await cache.writer.flush()
      } finally {
        await cache.database.query('drop trigger test_refuse on roles')
      }
      expect(await cache.column('select id from roles')).toHaveLength(28)
      expect(await cache.column('select id from channels')).toHaveLength(1)
      expect(cache.gaps).toEqual(
        [8, 24].map((sequence) => ({
          shardId: 0,
          sessionId: 'session',
          from: sequence,
          to: sequence,
          cause: 'cache_poison_row',
        })),
      )
    })

    it('leaves out an object that is nested too deeply to read', async () => {
      await cache.commit(
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(1) }],
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(2, { tags: deep(1900) }) }],
        ['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(3) }],
      )
      const names = await cache.column<string>(`select data->>'name' from roles`)
      expect(names).toContain('role 1')
      expect(names).toContain('role 3')
    })

    it('counts an event that cannot be read and goes on', async () => {
      const garbage = Buffer.from([131, 116, 0, 0, 0, 2, 97, 1, 254, 0])
      cache.writeBytes('GUILD_ROLE_CREATE', garbage, { sequence: 5 })
      cache.writeBytes('GUILD_CREATE', Buffer.from([131, 97, 1]))
      cache.writeBytes('GUILD_MEMBERS_CHUNK', Buffer.from([131, 106]))
      cache.write('PRESENCE_UPDATE', { user: 7, guild_id: 'nonsense', status: [] })
      cache.write('GUILD_CREATE', { id: GUILD, channels: [1, [], { id: -5 }], members: 'none' })
      await cache.commit(['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(1) }])
      expect(cache.gaps).toMatchObject([{ from: 5, to: 5, cause: 'cache_unreadable_event' }])
      expect(await cache.column('select id from roles')).toHaveLength(1)
      expect(await cache.column('select id from guilds')).toHaveLength(1)
    })
  })

  describe('its bound', () => {
    it('drops rows beyond it as a counted gap and settles them', async () => {
      await cache.close()
      cache = await TestCache.open(opened.database, { rowsMax: 200, laneCount: 1 })
      const sent = 2000
      let last = 0
      for (let n = 0; n < sent; n++) {
        last = cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(n) })
      }
      await cache.writer.flush()
      const stored = (await cache.column('select id from roles')).length
      expect(stored).toBeGreaterThanOrEqual(200)
      expect(stored + cache.gaps.length).toBe(sent)
      expect(cache.gaps.every((gap) => gap.cause === 'cache_full')).toBe(true)
      expect(cache.settled.at(-1)).toEqual([0, last])
      await cache.commit(['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(5000) }])
      expect(await cache.column('select id from roles')).toHaveLength(stored + 1)
    })
  })
})

/** What only a server does: it goes away, refuses, holds locks, and is shared by several processes. */
import { connect, createServer, type Socket } from 'node:net'
import pg from 'pg'
import { afterEach, describe, expect, it } from 'vitest'
import { type Log, memoryCounters, Secret, silentLog } from '../../src/base/index.ts'
import {
  type CacheError,
  type Database,
  Fleet,
  GuildMembership,
  migrate,
  openDatabase,
} from '../../src/cache/index.ts'
import { LANE_SETUP } from '../../src/cache/cache-writer.ts'
import { SHARD_LOCK_KEY } from '../../src/cache/fences.ts'
import { MEMBER_COUNTS_SQL } from '../../src/cache/member-counts.ts'
import { readMigrations } from '../../src/cache/migrate.ts'
import { refuseOldServer } from '../../src/cache/postgres-database.ts'
import { LOOKUPS } from '../../src/cache/state/statements.ts'
import { MEMBERS } from '../../src/cache/tables.ts'
import { freshDatabase } from '../support/postgres.ts'
import { startPostgres } from '../support/servers.ts'
import { until } from '../support/until.ts'
import { BOT, channel, deps, GUILD, guildCreate, member, role, TestCache } from './cache-setup.ts'

const closers: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function fresh(): Promise<string> {
  const database = await freshDatabase()
  closers.push(() => database.drop())
  return database.url
}

async function open(url: string, options: object = {}): Promise<Database> {
  const database = await openDatabase({ url: new Secret(url), name: 'test', ...options }, deps)
  closers.push(() => database.close())
  return database
}

async function client(url: string): Promise<pg.Client> {
  const connected = new pg.Client({ connectionString: url })
  connected.on('error', () => undefined)
  await connected.connect()
  closers.push(() => connected.end().catch(() => undefined))
  return connected
}

async function openCache(url: string, options: object = {}): Promise<TestCache> {
  const database = await open(url)
  await migrate(database, deps)
  const cache = await TestCache.open(database, options)
  closers.push(() => cache.close())
  return cache
}

describe('opening Postgres', () => {
  it('names the address without the password, and what was tried, when nobody answers', async () => {
    const server = createServer((socket) => socket.destroy()).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    closers.push(() => new Promise((resolve) => server.close(() => resolve())))
    const { port } = server.address() as { port: number }
    const url = `postgres://bot:hunter2@127.0.0.1:${port}/state`
    const error = await open(url, { startTimeoutMs: 700 }).then(
      () => null,
      (thrown: CacheError) => thrown,
    )
    expect(error).toMatchObject({ code: 'CACHE_UNREACHABLE', retryable: true })
    expect(error?.message).toContain(`127.0.0.1:${port}`)
    expect(error?.message).toMatch(/in [2-9] attempts/)
    expect(error?.message).not.toContain('hunter2')
  })

  it('refuses at once what a repeat would not change', async () => {
    const url = new URL(await fresh())
    url.pathname = '/no_such_database'
    const startedAt = performance.now()
    await expect(open(url.toString())).rejects.toMatchObject({ code: 'CACHE_REFUSED' })
    expect(performance.now() - startedAt).toBeLessThan(5000)
  })

  it('refuses a server without MERGE', () => {
    expect(() => refuseOldServer(140_012, 'postgres://db')).toThrow(
      expect.objectContaining({
        code: 'CACHE_POSTGRES_TOO_OLD',
        message: expect.stringContaining('version 14') as string,
      }) as Error,
    )
    refuseOldServer(150_000, 'postgres://db')
  })

  it('says who it is, and has timeouts', async () => {
    const database = await open(await fresh())
    const connection = await database.connect('lane 0')
    for (const queryable of [database, connection]) {
      const [row] = await queryable.query<Record<string, string>>(
        `select current_setting('application_name') as name, current_setting('statement_timeout') as statement,
                current_setting('idle_in_transaction_session_timeout') as idle`,
      )
      expect(row).toMatchObject({ statement: '30s', idle: '10s' })
      expect(row?.['name']).toMatch(/^gateway test/)
    }
  })
})

describe('migrations of several processes', () => {
  it('run once, whoever comes first', async () => {
    const url = await fresh()
    const databases = await Promise.all([1, 2, 3].map(() => open(url)))
    const results = await Promise.all(databases.map((database) => migrate(database, deps)))
    expect(results.flatMap(({ applied }) => applied).sort()).toEqual(
      readMigrations().map(({ name }) => name),
    )
    const fleets = await Promise.all(
      databases.map((database) => Fleet.open(database, { name: 'test', botUserId: BOT })),
    )
    expect(fleets).toHaveLength(3)
  })

  it("refuse the ancestor's database and leave it as it is", async () => {
    const url = await fresh()
    const ancestor = await client(url)
    await ancestor.query(
      'create unlogged table guilds (id int8 primary key, data jsonb); create unlogged table shards (id int, name text, seq int8, sess text)',
    )
    await expect(migrate(await open(url), deps)).rejects.toMatchObject({
      code: 'CACHE_ANCESTOR_DATABASE',
      message: expect.stringMatching(
        /(guilds.*shards|shards.*guilds).*gateway migrate -psql/,
      ) as string,
    })
    const { rows } = await ancestor.query(
      `select count(*)::int4 as n from information_schema.tables where table_schema = 'public'`,
    )
    expect(rows).toEqual([{ n: 2 }])
  })
})

describe('take-over', () => {
  it('waits for a transaction that speaks for the shard', async () => {
    const url = await fresh()
    const cache = await openCache(url)
    const holder = await client(url)
    await holder.query('begin')
    await holder.query(`select pg_advisory_xact_lock_shared(${SHARD_LOCK_KEY}, 2)`)
    let isTaken = false
    const taken = cache.sessions.takeOver(2, { epoch: 1, revision: 2 }).then((result) => {
      isTaken = true
      return result
    })
    // Another shard does not wait with it.
    expect(await cache.sessions.holds(3, { epoch: 1, revision: 1 })).toBe(true)
    await until(async () => {
      const { rows } = await holder.query<{ n: number }>(
        `select count(*)::int4 as n from pg_locks where locktype = 'advisory' and not granted and objid = 2`,
      )
      return rows[0]?.n === 1
    })
    expect(isTaken).toBe(false)
    await holder.query('commit')
    expect(await taken).toMatchObject({ owned: true })
  })

  it('terminates a holder that keeps it waiting for 3 s', async () => {
    const url = await fresh()
    const cache = await openCache(url)
    const holder = await client(url)
    await holder.query('begin')
    await holder.query(`select pg_advisory_xact_lock_shared(${SHARD_LOCK_KEY}, 2)`)
    await holder.query(`insert into roles (id, guild_id, data) values (1, 1, '{}')`)
    const startedAt = performance.now()
    expect(await cache.sessions.takeOver(2, { epoch: 1, revision: 2 })).toMatchObject({
      owned: true,
    })
    expect(performance.now() - startedAt).toBeGreaterThan(2900)
    await expect(holder.query('commit')).rejects.toThrow()
    expect(await cache.column('select id from roles')).toEqual([])
  })

  it('lets nothing of the loser through, whenever it wins: two owners write for one shard', async () => {
    const url = await fresh()
    const first = await openCache(url, { laneCount: 1 })
    const second = await TestCache.open(await open(url), { keep: true, revision: 1, laneCount: 1 })
    closers.push(() => second.close())
    const owners = [first, second] as const
    for (let round = 0; round < 12; round++) {
      const owner = owners[round % 2]!
      const loser = owners[(round + 1) % 2]!
      const stream = async (): Promise<void> => {
        for (let n = 0; n < 40; n++) {
          loser.write('GUILD_ROLE_UPDATE', {
            guild_id: GUILD,
            role: role(n, { name: `by ${round - 1}` }),
          })
          if (n % 8 === 0) await new Promise((resolve) => setImmediate(resolve))
        }
      }
      const streaming = stream()
      expect(await owner.claim(0, round + 2)).toBe(true)
      owner.write('GUILD_ROLE_UPDATE', { guild_id: GUILD, role: role(1, { name: `by ${round}` }) })
      await owner.writer.flush()
      await streaming
      await loser.writer.flush()
      expect(
        await first.column(`select data->>'name' from roles where id = ${role(1).id}`),
      ).toEqual([`by ${round}`])
    }
  })
})

describe('Postgres that goes away', () => {
  it('loses nothing over a restart, and says that it was away', async () => {
    const server = await startPostgres()
    closers.push(() => server.stop())
    const cache = await openCache(server.url, { laneCount: 1 })
    await cache.commit(['GUILD_CREATE', guildCreate({ members: [], member_count: 0 })])
    await server.kill()
    let last = 0
    for (let n = 0; n < 300; n++) {
      last = cache.write('GUILD_MEMBER_ADD', { guild_id: GUILD, ...member(n % 100) })
    }
    await until(() => cache.away.length === 1, { what: 'being told that it is away' })
    expect(cache.away).toEqual([true])
    const settledBefore = cache.settled.length
    cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(9) })
    await server.start()
    await cache.writer.flush()
    expect(cache.away).toEqual([true, false])
    expect(cache.settled.length).toBeGreaterThan(settledBefore)
    expect(cache.settled.at(-1)?.[1]).toBeGreaterThanOrEqual(last)
    expect(await cache.column('select user_id from members')).toHaveLength(100)
    expect(await cache.column(`select data->'member_count' from guilds`)).toEqual([100])
    expect(cache.gaps).toEqual([])
    // Stores come back too.
    expect(await cache.sessions.holds(0, { epoch: 1, revision: 1 })).toBe(true)
    expect(await cache.claim(0, 5)).toBe(true)
  })

  it('notices a server that is frozen, goes on when it thaws, and ends without it', async () => {
    const server = await startPostgres({ fsync: false })
    closers.push(() => server.stop())
    const cache = await openCache(server.url, { laneCount: 1 })
    await cache.commit(['GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(1) }])
    server.freeze()
    cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(2) })
    await until(() => cache.away.length === 1, { what: 'being told that it is away' })
    server.thaw()
    await cache.writer.flush()
    expect(cache.away).toEqual([true, false])
    expect(await cache.column('select id from roles')).toHaveLength(2)
    server.freeze()
    cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role(3) })
    await new Promise((resolve) => setTimeout(resolve, 20))
    const startedAt = performance.now()
    await cache.close()
    await cache.database.close()
    expect(performance.now() - startedAt).toBeLessThan(3000)
    server.thaw()
  })

  it('writes again what was in flight when its backend was terminated', async () => {
    const url = await fresh()
    const cache = await openCache(url)
    const admin = await client(url)
    for (let round = 0; round < 10; round++) {
      for (let n = 0; n < 50; n++) {
        const role_ = role(round * 50 + n)
        cache.write('GUILD_ROLE_CREATE', { guild_id: GUILD, role: role_ }, { shardId: n % 4 })
      }
      const flushed = cache.writer.flush()
      await admin.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`,
      )
      await flushed
    }
    expect(await cache.column('select id from roles')).toHaveLength(500)
    expect(cache.lost).toEqual([])
  })
})

describe('a connection that is a black hole', () => {
  /** Forwards to a server, and swallows every byte of the connections that were open at `swallow()`. */
  async function blackHole(url: string): Promise<{ url: string; swallow(): void }> {
    const { hostname, port } = new URL(url)
    const sockets = new Set<Socket>()
    const proxy = createServer((socket) => {
      const upstream = connect(Number(port), hostname)
      for (const end of [socket, upstream]) {
        sockets.add(end)
        end.on('error', () => undefined)
        end.on('close', () => sockets.delete(end))
      }
      socket.on('data', (chunk) => upstream.write(chunk))
      upstream.on('data', (chunk) => socket.write(chunk))
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => proxy.once('listening', resolve))
    closers.push(async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => proxy.close(resolve))
    })
    const address = new URL(url)
    address.port = String((proxy.address() as { port: number }).port)
    return {
      url: address.toString(),
      swallow() {
        for (const socket of sockets) {
          socket.removeAllListeners('data')
          socket.resume()
        }
      },
    }
  }

  const fence = { epoch: 1, revision: 1 }
  const session = {
    sessionId: 'a session',
    resumeGatewayUrl: 'wss://gateway.discord.gg',
    sequence: 1,
    shardCount: 4,
    intents: 1,
    query: { v: 10, encoding: 'etf', compress: 'none' },
  } as const
  const acknowledged = { shardId: 0, fence, sessionId: session.sessionId, sequence: 9 }

  async function swallowed(): Promise<{
    cache: TestCache
    warnings: unknown[]
    retries: () => number
    swallow: () => void
  }> {
    const hole = await blackHole(await fresh())
    const warnings: unknown[] = []
    const log: Log = { ...silentLog, warn: (...warning) => warnings.push(warning) }
    const counters = memoryCounters()
    const database = await openDatabase(
      { url: new Secret(hole.url), name: 'test', deadlineMs: 700 },
      { ...deps, log, counters },
    )
    closers.push(() => database.close())
    await migrate(database, deps)
    const cache = await TestCache.open(database)
    closers.push(() => cache.close())
    await cache.sessions.saveSession(0, fence, session)
    return {
      cache,
      warnings,
      retries: () => counters.read('gateway_cache_retries_total'),
      swallow: () => hole.swallow(),
    }
  }

  it.each([
    ['saves of sequences', (cache: TestCache) => cache.sessions.saveAcknowledged([acknowledged])],
    ['the save of a session', (cache: TestCache) => cache.sessions.saveSession(0, fence, session)],
    ['a take-over', (cache: TestCache) => cache.sessions.takeOver(0, fence)],
    ['a single statement', (cache: TestCache) => cache.sessions.holds(0, fence)],
    ['the membership', (cache: TestCache) => new GuildMembership(cache).load(0, 4)],
  ])('fails %s once, says so, and is replaced', async (_what, call) => {
    const { cache, warnings, retries, swallow } = await swallowed()
    const answer = await call(cache)
    swallow()
    const startedAt = performance.now()
    await expect(call(cache)).rejects.toMatchObject({
      code: 'CACHE_CONNECTION_LOST',
      retryable: true,
    })
    expect(performance.now() - startedAt).toBeLessThan(2000)
    expect(warnings).toEqual([
      ['database did not answer in time: connection broken off', expect.anything()],
    ])
    expect(retries()).toBe(1)
    expect(await call(cache)).toEqual(answer)
    expect(warnings).toHaveLength(1)
  })

  it('keeps a deadline of its own where one was asked for', async () => {
    const { cache } = await swallowed()
    const slow = `select pg_sleep(1.1)`
    await expect(cache.database.query(slow)).rejects.toMatchObject({
      code: 'CACHE_CONNECTION_LOST',
    })
    await cache.database.query(slow, [], undefined, 5000)
    const connection = await cache.database.connect('slow', { deadlineMs: 5000 })
    await connection.query(slow)
    await connection.close()
  })

  it('holds up no end, even while a connection is being opened', async () => {
    const server = await startPostgres({ fsync: false })
    closers.push(() => server.stop())
    const database = await open(server.url)
    const connection = await database.connect('sessions')
    server.freeze()
    const failed = expect(connection.query('select 1')).rejects.toMatchObject({
      code: 'CACHE_UNREACHABLE',
    })
    await new Promise((resolve) => setTimeout(resolve, 20))
    const startedAt = performance.now()
    await database.close()
    await failed
    expect(performance.now() - startedAt).toBeLessThan(3000)
    server.thaw()
  })
})

describe('a member who is in many guilds', () => {
  it('is written and read by the primary key, not looked for in each of the guilds', async () => {
    const url = await fresh()
    const database = await open(url)
    await migrate(database, deps)
    // User 7 is in each of 400 guilds, as a common bot is; of the others each is in one.
    await database.query(
      `insert into guilds (id, data) select id, '{}' from generate_series(1, 400) id`,
    )
    await database.query(`insert into members (guild_id, user_id, data)
      select guild, case when n = 0 then 7 else guild * 100 + n end, '{}'
      from generate_series(1, 400) guild, generate_series(0, 20) n`)
    await database.query('vacuum analyze members')
    const writes = await client(url)
    await writes.query(LANE_SETUP)
    const reads = await client(url)
    const statements: [on: pg.Client, text: string, values: string][] = [
      [writes, MEMBERS.sql, `'{P}', '{3}', '{7}', '{"{}"}'`],
      [writes, MEMBER_COUNTS_SQL, `'{3}', '{7}', '{?}', '{1}', '{1}', '{s}'`],
      [reads, LOOKUPS.member.text, `'{3}', '{7}'`],
      [reads, LOOKUPS.guildWith.text, `'{3}', '{4}'`],
      [reads, LOOKUPS.guildGrants.text, `'{3}', '{7}'`],
    ]
    for (const [index, [on, text, values]] of statements.entries()) {
      await on.query(`prepare statement${index} as ${text}`)
      const { rows } = await on.query<{ 'QUERY PLAN': string }>(
        `explain execute statement${index}(${values})`,
      )
      const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
      expect(plan).toMatch(/ members_pkey\b/)
      expect(plan).not.toContain('members_user_id_idx')
    }
  })
})

describe('lookups of State', () => {
  it('are planned once, not for each request', async () => {
    const url = await fresh()
    const database = await open(url)
    await migrate(database, deps)
    await database.query(`insert into members (guild_id, user_id, data)
      select 1, n, '{}' from generate_series(1, 20000) n`)
    await database.query('vacuum analyze members')
    const reads = await client(url)
    for (const { name, text } of Object.values(LOOKUPS)) {
      const values = text.includes('$2') ? ['{1}', '{7}'] : ['{1}']
      // Postgres plans the first five anew, and from then on when it finds that cheaper.
      for (let time = 0; time < 7; time++) await reads.query({ name, text, values })
    }
    const { rows } = await reads.query(
      'select name from pg_prepared_statements where generic_plans < 2 order by name',
    )
    expect(rows).toEqual([])
  })
})

describe('the log', () => {
  it('has nothing of rows that did not change', async () => {
    // Of its own: on the shared one other tests write.
    const server = await startPostgres({ fsync: false })
    closers.push(() => server.stop())
    const cache = await openCache(server.url)
    const members = Array.from({ length: 300 }, (_, n) => member(n))
    const channels = Array.from({ length: 200 }, (_, n) => channel(n))
    const create = guildCreate({ members, channels, member_count: members.length })
    await cache.commit(['GUILD_CREATE', create, { guildClass: 'joined', sequence: 1 }])
    const written = async (): Promise<number> => {
      const [lsn] = await cache.database.query<{ bytes: string }>(
        `select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') as bytes`,
      )
      return Number(lsn?.bytes)
    }
    // The server itself writes now and then; three tries tell its bytes from ours.
    let least = Number.POSITIVE_INFINITY
    for (let attempt = 0; attempt < 3 && least > 0; attempt++) {
      const before = await written()
      await cache.commit(['GUILD_CREATE', create, { guildClass: 'available', sequence: 1 }])
      least = Math.min(least, (await written()) - before)
    }
    expect(least).toBe(0)
  })
})

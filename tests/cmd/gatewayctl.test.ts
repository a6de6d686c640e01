/** `gatewayctl` as an operator runs it, on a fleet of two real workers. */
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { execute, type Outcome } from '../../cmd/gatewayctl/run.ts'
import { memoryCounters, Secret, silentLog, systemClock } from '../../src/base/index.ts'
import { Fleet, IdentifyLog, migrate, openDatabase } from '../../src/cache/index.ts'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { freePort } from '../support/server-process.ts'
import { startEtcd, type TestServer } from '../support/servers.ts'
import { until } from '../support/until.ts'

const SHARDS = 4
/** Its breaker is open from the start. */
const BROKEN = 3
const ADMIN = 'an-admin-token'

interface ShardReply {
  readonly shard: number
  readonly worker: string
  readonly state: string
  readonly fence_revision: number
  readonly moved_to: string
}

interface Status {
  readonly workers: readonly { readonly id: string; readonly address: string }[]
  readonly shards: readonly ShardReply[]
}

interface End {
  readonly code: number | null
  readonly output: string
}

let sim: Sim
let etcd: TestServer
let database: FreshDatabase
let workers: readonly Program[]
let addresses: readonly string[]

beforeAll(async () => {
  ;[sim, etcd, database] = await Promise.all([
    startSim({ shards: SHARDS, guilds: 8, maxConcurrency: SHARDS }),
    startEtcd(),
    freshDatabase(),
  ])
  await spendIdentifies(3)
  workers = ['a', 'b'].map(
    (podId) =>
      new Program(
        'cmd/gateway/main.ts',
        [
          '-prod',
          `-podId=${podId}`,
          '-addr=127.0.0.1:0',
          '-http=none',
          '-redis=none',
          '-lease-ttl=3',
          '-rebalance-settle=0',
          '-rebalance-percent=100',
          `-etcd=${etcd.url}`,
          `-psql=${database.url}`,
          `-discord-api=${sim.apiUrl}`,
        ],
        { DISCORD_TOKEN: sim.token, GATEWAY_ADMIN_TOKEN: ADMIN },
      ),
  )
  addresses = await Promise.all(
    workers.map(async (worker) => String((await worker.line('serving gRPC'))['address'])),
  )
  await Promise.all(workers.map((worker) => worker.line('started')))
  await until(() => connected() === SHARDS - 1, {
    timeoutMs: 20_000,
    what: 'three shards',
  }).catch((error: unknown) => {
    throw new Error(`${String(error)}\n${workers.map(({ output }) => output).join('\n\n')}`)
  })
})

afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop()))
  await sim.stop()
  await etcd.stop()
  await database.drop()
})

/** So many identifies of one shard, recorded a minute ago. */
async function spendIdentifies(count: number): Promise<void> {
  const db = await openDatabase(
    { url: new Secret(database.url), name: 'test' },
    { clock: systemClock, random: Math.random, log: silentLog, counters: memoryCounters() },
  )
  await migrate(db, { log: silentLog })
  const botUserId = BigInt(Buffer.from(sim.token.split('.')[0]!, 'base64url').toString())
  const fleet = await Fleet.open(db, { name: 'gateway', botUserId })
  const log = new IdentifyLog({ database: db, fleet })
  for (let index = 0; index < count; index++) {
    const atMs = Date.now() - 60_000
    await log.record({ shardId: BROKEN, atMs, worker: 'earlier', why: 'first' })
  }
  await db.close()
}

function connected(): number {
  return sim.sessions.filter(({ reader, end }) => reader !== null && end === null).length
}

/** As the program does it, without a process of its own. */
async function ctl(argv: readonly string[], addr = addresses[0]!, token = ADMIN): Promise<End> {
  const { exitCode, stdout, stderr } = await execute([`-addr=${addr}`, ...argv], {
    GATEWAY_ADMIN_TOKEN: token,
  })
  return { code: exitCode, output: (stdout + stderr).trimEnd() }
}

async function statusOf(addr?: string): Promise<Status> {
  const { code, output } = await ctl(['status', '-json'], addr)
  expect(code, output).toBe(0)
  return JSON.parse(output) as Status
}

function textChannel(guildId: bigint): bigint {
  const { guilds } = sim.world.snapshot() as unknown as {
    guilds: { id: bigint; channels: { id: bigint; type: number }[] }[]
  }
  const guild = guilds.find(({ id }) => id === guildId)!
  return guild.channels.find(({ type }) => type === 0)!.id
}

interface Shown {
  readonly t: string
  readonly worker: string
  readonly d: { readonly guild_id?: string }
}

function startTail(
  argv: readonly string[],
  unwrittenBytes = 0,
): {
  readonly events: () => Shown[]
  readonly end: AbortController
  readonly ended: Promise<Outcome>
} {
  const lines: string[] = []
  const end = new AbortController()
  const ended = execute(['tail', `-addr=${addresses[0]!}`, ...argv], {}, () => ({
    write: (text) => void lines.push(text),
    unwrittenBytes,
    signal: end.signal,
  }))
  return { events: () => lines.map((line) => JSON.parse(line) as Shown), end, ended }
}

/** Two shards on each worker, all of them ready. */
async function untilSettled(): Promise<void> {
  const isSettled = async (): Promise<boolean> => {
    const { shards } = await statusOf()
    const ofA = shards.filter(({ worker }) => worker.startsWith('a.'))
    return ofA.length === SHARDS / 2 && shards.every(({ state }) => state === 'ready')
  }
  await until(isSettled, { timeoutMs: 10_000, what: 'two shards ready on each worker' })
}

function expectEnd({ code, output }: End, expected: number, said: RegExp): void {
  expect(output).toMatch(said)
  expect(code).toBe(expected)
}

/** What does not change from one moment to the next. */
function steady({ workers: all, shards }: Status): unknown {
  return {
    workers: all,
    shards: shards.map(({ shard, worker, state, fence_revision, moved_to }) => {
      return { shard, worker, state, fence_revision, moved_to }
    }),
  }
}

describe('gatewayctl on two workers', { timeout: 20_000 }, () => {
  test('shows an open breaker, and identifies -allow lets its shard pass at once', async () => {
    // The shard may still be on its way to the second worker.
    const stopped = async (): Promise<string[]> => {
      const { output } = await ctl(['identifies', '-json'], addresses[1])
      const reply = JSON.parse(output) as {
        workers: { stopped_by: string }[]
        shards: { shard: number; identifies: number }[]
      }
      expect(reply.shards[0]).toEqual({ shard: BROKEN, identifies: 3 })
      return reply.workers.map(({ stopped_by }) => stopped_by).sort()
    }
    await until(async () => (await stopped()).join() === ',breaker', { what: 'an open breaker' })
    const refused = await ctl(['identifies', '-allow', '1'], addresses[1], 'another-token')
    expectEnd(refused, 1, /SERVER_UNAUTHORIZED/)
    expect(connected()).toBe(SHARDS - 1)
    const allowed = await ctl(['identifies', '-allow', '1'], addresses[1])
    expect(allowed.code, allowed.output).toBe(0)
    await until(() => connected() === SHARDS, { timeoutMs: 5000, what: 'the stopped shard' })
  })

  test('shows the same from either worker', async () => {
    await untilSettled()
    const [a, b] = await Promise.all(addresses.map((addr) => statusOf(addr)))
    expect(steady(a!)).toEqual(steady(b!))
    expect(a!.workers.map(({ address }) => address).sort()).toEqual([...addresses].sort())
    expect(a!.shards.map(({ state }) => state)).toEqual(new Array(SHARDS).fill('ready'))
    const program = new Program('cmd/gatewayctl/main.ts', ['status', `-addr=${addresses[0]}`])
    expect((await program.exited).code).toBe(0)
    expect(program.output).toContain('4 of 4 shards ready, 2 workers')
  })

  test('moves a shard with a RESUME and no identify, restarts it through the other worker', async () => {
    await untilSettled()
    const before = await statusOf()
    const { shard, worker } = before.shards.find((each) => each.worker.startsWith('a.'))!
    const resumes = sim.ledger.resumes.length
    const moved = await ctl(['move', String(shard), 'b', '-json'])
    expect(moved.code, moved.output).toBe(0)
    const reply = JSON.parse(moved.output) as { worker: string; is_done: boolean }
    expect(reply).toMatchObject({ shard, is_done: true })
    expect(reply.worker).not.toBe(worker)
    const resumed = (): number =>
      sim.ledger.resumes.slice(resumes).filter((resume) => resume.shard === shard).length
    expect(resumed()).toBe(1)
    const restarted = await ctl(['restart', String(shard)], addresses[0])
    expect(restarted.code, restarted.output).toBe(0)
    await until(() => resumed() === 2, { what: 'the second RESUME' })
    expect(sim.ledger.identifies).toHaveLength(SHARDS)
    const after = await statusOf(addresses[1])
    const { fence_revision } = before.shards[shard]!
    expect(after.shards[shard]).toMatchObject({ worker: reply.worker, moved_to: reply.worker })
    expect(after.shards[shard]!.fence_revision).toBeGreaterThan(fence_revision)
  })

  test('drains a worker, and takes that back', async () => {
    const drained = await ctl(['drain', 'b'])
    expect(drained.code, drained.output).toBe(0)
    const { shards } = await statusOf()
    expect(shards.every(({ worker }) => worker.startsWith('a.'))).toBe(true)
    expect(sim.ledger.identifies).toHaveLength(SHARDS)
    expect((await ctl(['undrain', 'b'])).code).toBe(0)
    await untilSettled()
  })

  test('tells where a guild is, and asks for its members through any worker', async () => {
    const [id] = sim.world.guildIds(0, SHARDS)
    const [guild, members] = await Promise.all([
      ctl(['guild', String(id), '-json']),
      ctl(['requestmembers', String(id)], addresses[1]),
    ])
    const shard = Number((BigInt(String(id)) >> 22n) % BigInt(SHARDS))
    expect(JSON.parse(guild.output)).toMatchObject({ guild_id: String(id), shard, state: /./ })
    expect(members.code, members.output).toBe(0)
  })

  test('tail shows what its filter wants of the events of both workers, until it is ended', async () => {
    await untilSettled()
    // The guilds of this world are on the shards 0 and 3.
    expect((await ctl(['move', '0', 'a'])).code).toBe(0)
    expect((await ctl(['move', '3', 'b'])).code).toBe(0)
    const [id] = sim.world.guildIds(0, SHARDS)
    const channels = [0, 3].map((shard) => textChannel(sim.world.guildIds(shard, SHARDS)[0]!))
    const write = (): void => {
      for (const channel of channels) sim.writeMessage(channel, 'a "message"')
    }
    const all = startTail(['-events=MESSAGE_CREATE'])
    const one = startTail([`-guilds=${id}`, '-count=3'])
    const isShown = (): boolean => {
      write()
      const workersShown = new Set(all.events().map(({ worker }) => worker))
      return workersShown.size === 2 && one.events().length >= 3
    }
    await until(isShown, { what: 'events of two workers, three of one guild' })
    expect(await one.ended).toEqual({ exitCode: 0, stdout: '', stderr: '' })
    for (const { d } of one.events()) expect(d.guild_id).toBe(String(id))
    expect(one.events()).toHaveLength(3)
    all.end.abort()
    expect(await all.ended).toEqual({ exitCode: 0, stdout: '', stderr: '' })
    expect(new Set(all.events().map(({ t }) => t))).toEqual(new Set(['MESSAGE_CREATE']))
    expect(all.events()[0]).toMatchObject({ s: expect.any(Number), d: { content: 'a "message"' } })
    for (const shard of ['0', '3']) expect((await ctl(['unmove', shard])).code).toBe(0)
  })

  test('tail leaves out what its reader does not take, and says how much', async () => {
    const quick = startTail(['-events=MESSAGE_CREATE'])
    const slow = startTail(['-events=MESSAGE_CREATE'], 5 * 1024 * 1024)
    // Of a hundred events that one stream has had the other has had some.
    await until(() => (sim.writeMessage(null, 'x'), quick.events().length > 100), {
      what: 'a hundred events',
    })
    quick.end.abort()
    slow.end.abort()
    const { stderr, exitCode } = await slow.ended
    expect(exitCode).toBe(0)
    expect(slow.events()).toEqual([])
    expect(stderr).toMatch(/^gatewayctl: [0-9]+ events were left out/)
  })

  test('says what is wrong, and how with its exit code', async () => {
    const nobody = `127.0.0.1:${await freePort()}`
    const [move, worker, shard, restart, command, missing, silent] = await Promise.all([
      ctl(['mvoe']),
      ctl(['move', '0', 'c']),
      ctl(['move', '9', 'a']),
      ctl(['restart', '9']),
      ctl(['guild', 'abc']),
      ctl(['drain']),
      ctl(['status'], nobody),
    ])
    expectEnd(move, 2, /CONFIG_UNKNOWN_COMMAND.*did you mean move/)
    expectEnd(worker, 1, /CLUSTER_WORKER_UNKNOWN.*[ab]\..*[ab]\./)
    expectEnd(shard, 1, /CLUSTER_SHARD_UNKNOWN.*0 to 3/)
    expectEnd(restart, 1, /SERVER_SHARD_NOT_FOUND/)
    expectEnd(command, 2, /CONFIG_BAD_ARGUMENT/)
    expectEnd(missing, 2, /gatewayctl drain <worker>/)
    expectEnd(silent, 3, /SERVER_WORKER_UNREACHABLE/)
    // Of two addresses the one that answers is taken.
    expect((await ctl(['status'], `${nobody},${addresses[1]}`)).code).toBe(0)
  })
})

describe('completions', () => {
  test('bash completes commands, flags and shells', async () => {
    const { code, output } = await ctl(['completions', 'bash'], 'nobody:1')
    expect(code).toBe(0)
    const complete = (...words: string[]): string[] => {
      const typed = words.map((word) => `'${word}'`).join(' ')
      const script = `${output}\nCOMP_WORDS=(gatewayctl ${typed}); COMP_CWORD=${words.length}; _gatewayctl; printf '%s\n' "\${COMPREPLY[@]}"`
      return execFileSync('bash', ['-c', script], { encoding: 'utf8' }).trim().split('\n')
    }
    expect(complete('dr')).toEqual(['drain'])
    expect(complete('t')).toEqual(['tail'])
    expect(complete('tail', '-co')).toEqual(['-count'])
    expect(complete('-json', 'completions', '')).toEqual(['bash', 'zsh', 'fish'])
    expect(complete('status', '')).toEqual([''])
  })

  test.each(['zsh', 'fish'])('%s is told every command and flag', async (shell) => {
    const { code, output } = await ctl(['completions', shell], 'nobody:1')
    expect(code).toBe(0)
    for (const name of ['status', 'requestmembers', 'tail', 'admin-token', 'version']) {
      expect(output).toMatch(new RegExp(`(-o |-a |'-?)${name}\\b`))
    }
    expect(output.split("'").length % 2).toBe(1)
  })

  test('another shell is refused', async () => {
    expectEnd(
      await ctl(['completions', 'tcsh'], 'nobody:1'),
      2,
      /CONFIG_BAD_ARGUMENT.*bash, zsh, fish/,
    )
  })
})

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ALL_INTENTS, INTENTS } from '../../src/discord/index.ts'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { until } from '../support/until.ts'

const MAIN = 'cmd/gateway/main.ts'
const GARBAGE = ['unknown-tag', 'truncated', 'huge-list', 'huge-name', 'bad-version'] as const

let folder: string
let database: Awaited<ReturnType<typeof freshDatabase>>
let programs: Program[]
let sims: Sim[]

beforeEach(async () => {
  database = await freshDatabase()
  folder = mkdtempSync(join(tmpdir(), 'gateway-cmd-'))
  programs = []
  sims = []
})

afterEach(async () => {
  for (const program of programs) program.kill('SIGKILL')
  await Promise.all(programs.map((program) => program.exited))
  for (const sim of sims) await sim.stop()
  await database.drop()
  rmSync(folder, { recursive: true, force: true })
})

async function discord(options: Parameters<typeof startSim>[0] = {}): Promise<Sim> {
  const sim = await startSim({ shards: 2, guilds: 4, maxConcurrency: 2, ...options })
  sims.push(sim)
  return sim
}

function start(argv: string[], env: Record<string, string> = {}): Program {
  const program = new Program(MAIN, argv, { DISCORD_TOKEN: '', ...env })
  programs.push(program)
  return program
}

/** A gateway on this test's database, or on the embedded store in its folder. */
function gateway(
  sim: Sim,
  argv: string[] = [],
  token: string = sim.token,
  store: 'postgres' | 'embedded' = 'postgres',
): Program {
  return start(
    [
      '-prod',
      '-addr=none',
      '-http=127.0.0.1:0',
      `-discord-api=${sim.apiUrl}`,
      ...(store === 'postgres'
        ? [`-psql=${database.url}`, '-redis=none']
        : [`-data=${join(folder, 'data')}`]),
      ...argv,
    ],
    { DISCORD_TOKEN: token },
  )
}

/** The exit code and everything it printed. */
async function end(program: Program): Promise<{ code: number | null; output: string }> {
  const { code } = await program.exited
  return { code, output: program.output }
}

describe('the command line', () => {
  test('-help lists every flag and exits 0', async () => {
    const { code, output } = await end(start(['-help']))
    expect(code).toBe(0)
    expect(output).toContain('-token-file')
  })

  test('-version prints the version of the package', async () => {
    expect(await end(start(['-version']))).toEqual({ code: 0, output: 'gateway 0.1.0' })
  })

  test('without a token it says where to get one and exits 1', async () => {
    const { code, output } = await end(start([]))
    expect(code).toBe(1)
    expect(output).toContain('[CONFIG_NO_TOKEN]')
  })

  test('an unknown flag names the nearest', async () => {
    const { code, output } = await end(start(['-tokne', 'x']))
    expect(code).toBe(1)
    expect(output).toContain('did you mean -token')
  })

  test('what does not look like a token is said before anything is connected', async () => {
    const { code, output } = await end(start(['-token=hello']))
    expect(code).toBe(1)
    expect(output).toContain('[CONFIG_BAD_TOKEN]')
    expect(output).not.toContain('hello')
  })
})

describe('Discord refuses', () => {
  test('a token that it does not know: exit 1 at once, with the cure', async () => {
    const sim = await discord()
    const other = `${Buffer.from('1100000000000000001').toString('base64url')}.other.token`
    const { code, output } = await end(gateway(sim, [], other))
    expect(code).toBe(1)
    expect(output).toContain('Reset Token')
    expect(output).not.toContain(other)
  })

  test('close code 4004: stops every shard, exit 1, no further attempt', async () => {
    const sim = await discord()
    const program = gateway(sim)
    await program.waitFor(() => (ready(program) === 2 ? true : null), 'both shards ready')
    const connections = sim.ledger.identifies.length + sim.ledger.resumes.length
    sim.fault({ kind: 'close', shard: 0, code: 4004 })
    const { code, output } = await end(program)
    expect(code).toBe(1)
    expect(output).toContain('4004')
    expect(output).toContain('Reset Token')
    expect(sim.ledger.identifies.length + sim.ledger.resumes.length).toBe(connections)
  })

  test('intents that are not enabled: which, and where to enable them', async () => {
    const sim = await discord({ intents: ALL_INTENTS & ~INTENTS.GUILD_PRESENCES })
    const { code, output } = await end(gateway(sim, ['-intents=all']))
    expect(code).toBe(1)
    expect(output).toContain('4014')
    expect(output).toContain('GUILD_PRESENCES')
    expect(output).toContain('Privileged Gateway Intents')
  })
})

describe('the store', () => {
  test('a second process on the same -data is refused and names the first', async () => {
    const sim = await discord()
    const first = gateway(sim, [], sim.token, 'embedded')
    await first.line('started')
    const { code, output } = await end(gateway(sim, [], sim.token, 'embedded'))
    expect(code).toBe(1)
    expect(output).toContain('[CACHE_DATA_LOCKED]')
    expect(first.isRunning).toBe(true)
  })

  test("another bot's token on a database is refused", async () => {
    const sim = await discord()
    const first = gateway(sim)
    await first.line('started')
    expect(await first.stop()).toEqual({ code: 0, signal: null })
    const other = `${Buffer.from('1200000000000000002').toString('base64url')}.x.y`
    const { code, output } = await end(gateway(sim, [], other))
    expect(code).toBe(1)
    expect(output).toContain('[CACHE_OTHER_BOT]')
  })
})

describe('what Discord sends', () => {
  test('is garbage: that connection is resumed and counted, the process goes on', async () => {
    const shards = GARBAGE.length + 1
    const sim = await discord({ shards, guilds: 20, maxConcurrency: 16 })
    const program = gateway(sim)
    await program.waitFor(() => (ready(program) === shards ? true : null), 'every shard ready')
    for (const [shard, what] of GARBAGE.entries()) sim.fault({ kind: 'garbage', shard, what })
    sim.fault({ kind: 'corrupt-stream', shard: GARBAGE.length })
    sim.step(300)
    await until(
      () => {
        const resumed = new Set(sim.ledger.resumes.map(({ shard }) => shard))
        return resumed.size === shards && connected(sim) === shards
      },
      { what: 'a RESUME of every shard', timeoutMs: 20_000 },
    )
    const { url } = (await program.line('serving HTTP')) as unknown as { url: string }
    const metrics = await (await fetch(`${url}/metrics`)).text()
    expect(metrics).toMatch(/gateway_frames_bad_total\{cause="malformed"\} [1-9]/)
    expect(sim.ledger.identifies).toHaveLength(shards)
    expect(await program.stop()).toEqual({ code: 0, signal: null })
  }, 60_000)
})

describe('the end', () => {
  test('SIGTERM saves and closes resumably within 10 s; the next start resumes', async () => {
    const sim = await discord({ rate: 20 })
    for (const run of [1, 2]) {
      const program = gateway(sim)
      await program.waitFor(() => (ready(program) === 2 ? true : null), 'both shards ready')
      const startedAt = performance.now()
      expect(await program.stop()).toEqual({ code: 0, signal: null })
      expect(performance.now() - startedAt).toBeLessThan(10_000)
      expect(program.logLines().at(-1)?.['msg']).toBe(
        'stopped: everything that was read is delivered',
      )
      expect(sim.ledger.identifies).toHaveLength(2)
      expect(sim.ledger.resumes).toHaveLength((run - 1) * 2)
    }
    expect(sim.ledger.closes.filter(({ by, code }) => by === 'client' && code < 4000)).toEqual([])
  })
})

function ready(program: Program): number {
  return new Set(
    program
      .logLines()
      .filter(({ msg }) => msg === 'ready')
      .map(({ shardId }) => shardId),
  ).size
}

function connected(sim: Sim): number {
  return sim.sessions.filter((session) => session.reader !== null).length
}

/** Secrets in every place that takes one, and nowhere in what the programs say. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { startSim, type Sim } from '../../sim/index.ts'
import { freshDatabase, type FreshDatabase } from '../support/postgres.ts'
import { Program } from '../support/program.ts'
import { sharedRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

/** Every secret holds this: one search finds any of them. */
const CANARY = 'CanaryThatNobodyMaySee'

const closers: (() => Promise<unknown> | void)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

function start(argv: string[], env: Record<string, string>): Program {
  const program = new Program('cmd/gateway/main.ts', argv, env)
  closers.push(async () => {
    program.kill('SIGKILL')
    await program.exited
  })
  return program
}

async function world(): Promise<{ sim: Sim; database: FreshDatabase; token: string }> {
  const [sim, database] = await Promise.all([
    startSim({
      shards: 2,
      guilds: 4,
      maxConcurrency: 2,
      rate: 20,
      token: `${Buffer.from('1101000000000000001').toString('base64url')}.${CANARY}.${CANARY}`,
    }),
    freshDatabase(),
  ])
  closers.push(
    () => sim.stop(),
    () => database.drop(),
  )
  return { sim, database, token: sim.token }
}

/** A password that the test's Postgres does not ask for, and takes. */
function withPassword(url: string): string {
  const changed = new URL(url)
  changed.password = CANARY
  return changed.toString()
}

describe.each(['text', 'JSON'])('in %s', (form) => {
  test('a run through trouble tells no secret, by log or by HTTP', async () => {
    const { sim, database, token } = await world()
    const redis = sharedRedis()
    const gateway = start(
      [
        ...(form === 'JSON' ? ['-prod'] : []),
        '-log-level=debug',
        '-addr=127.0.0.1:0',
        '-http=127.0.0.1:0',
        `-token=Bot ${token}`,
        `-admin-token=${CANARY}admin`,
        `-psql=${withPassword(database.url)}`,
        `-discord-api=${sim.apiUrl}`,
      ],
      {
        GATEWAY_READ_TOKEN: `${CANARY}read`,
        GATEWAY_WRITE_TOKEN: `${CANARY}write`,
        // One that is there and takes no password, one that nobody serves.
        MULTI_REDIS: JSON.stringify({
          [redis.url.replace('redis://', `redis://user:${CANARY}@`)]: ['TYPING_START'],
          [`redis://:${CANARY}@127.0.0.1:1`]: ['PRESENCE_UPDATE'],
        }),
      },
    )
    const url = await gateway.waitFor(
      () =>
        /serving HTTP.*(http:\/\/127\.0\.0\.1:\d+)"|(http:\/\/127\.0\.0\.1:\d+)".*serving HTTP/
          .exec(gateway.output)
          ?.slice(1)
          .find((found) => found !== undefined) ?? null,
      'HTTP',
      40_000,
    )
    await until(() => sim.ledger.identifies.length === 2, {
      what: 'both shards',
      timeoutMs: 40_000,
    })
    const pages = await Promise.all(
      ['/metrics', '/healthz', '/readyz', '/', '/no/such/route', `/?token=x`].map(async (path) =>
        (await fetch(url + path)).text(),
      ),
    )
    // Trouble: a resume, a refused session, and the end by a wrong token.
    sim.fault({ kind: 'tcp-drop', shard: 0 })
    await until(() => sim.ledger.resumes.length > 0, { what: 'a RESUME', timeoutMs: 40_000 })
    sim.fault({ kind: 'close', shard: 1, code: 4004 })
    expect((await gateway.exited).code).toBe(1)
    expect(gateway.output).toContain('4004')
    expect(gateway.output).toContain('secrets stand on the command line')
    for (const flag of ['token', 'admin-token', 'psql']) {
      expect(gateway.lines.find((line) => line.includes('secrets stand'))).toContain(`"${flag}"`)
    }
    expect([gateway.output, ...pages].filter((said) => said.includes(CANARY))).toEqual([])
  }, 120_000)
})

test('what cannot be read or reached is refused without repeating it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-redaction-'))
  closers.push(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'destinations.yaml')
  writeFileSync(
    file,
    `destinations:\n  - name: a\n    redis: redis://u:${CANARY}@127.0.0.1:1\n    nonsense: 1\n`,
  )
  const token = `${Buffer.from('1101000000000000001').toString('base64url')}.x.${CANARY}`
  const runs: [string[], Record<string, string>][] = [
    // Without quotes the shell makes two words of it.
    [['-token', 'Bot', token], {}],
    [[`-token=${CANARY}`], {}],
    [['-psql', `postgres//u:${CANARY}@h/d`], { DISCORD_TOKEN: token }],
    [
      ['-psql', `postgres://u:${CANARY}@127.0.0.1/d`, '-etcd', `://u:${CANARY}@`],
      { DISCORD_TOKEN: token },
    ],
    [['-destinations', file], { DISCORD_TOKEN: token }],
    [[], { DISCORD_TOKEN: token, MULTI_REDIS: `{"redis://u:${CANARY}@h": ` }],
  ]
  const said = await Promise.all(
    runs.map(async ([argv, env]) => {
      const program = start(
        [...argv, '-http=none', '-addr=none', `-data=${join(folder, 'data')}`],
        env,
      )
      const { code } = await program.exited
      return { argv, code, output: program.output }
    }),
  )
  expect(said.filter(({ output }) => output.includes(CANARY))).toEqual([])
  expect(said.filter(({ code, output }) => code !== 1 || !output.includes('['))).toEqual([])
}, 120_000)

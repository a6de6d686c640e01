/**
 * State against fastify with a query per request: one row of 1 KB by its key, at 1, 64 and 512 connections. Each server on
 * a core of its own, Postgres and the load on the other. bench/README.md#state
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { memoryCounters, Secret, seededRandom, silentLog, systemClock } from '../src/base/index.ts'
import { migrate, openDatabase } from '../src/cache/index.ts'
import { startPostgres } from '../tests/support/servers.ts'
import { bindTo, CONTENDER_CORE, OTHER_CORE } from './cores.ts'
import { readBenchFlags } from './flags.ts'
import { median } from './harness.ts'
import { Child } from './pipeline/child.ts'
import { Report } from './report.ts'
import type { LoadOrder, LoadResult } from './state/messages.ts'

const LOADS = [
  { connections: 1, aim: 0.95 },
  { connections: 64, aim: 2 },
  { connections: 512, aim: 2 },
] as const
const RIVAL = 'fastify, a query per request'
const MEMBERS = 20_000
const GUILD = '197038439483310086'
const FIRST_USER = 80_351_110_224_678_912n
/** So that a member has about 1 KB, as one with a full profile has. */
const PADDING_BYTES = 700
const WARM_UP_SECONDS = 1
const EXTENSION = extname(fileURLToPath(import.meta.url))

const flags = readBenchFlags(process.argv.slice(2), {
  seconds: 6,
  rounds: 3,
  json: false,
  only: '',
})
const report = new Report('state', flags)
const dir = mkdtempSync(join(tmpdir(), 'gateway-bench-'))
bindTo(OTHER_CORE)
const server = await startPostgres({ settings: { shared_buffers: '512MB' } })
const children: Child[] = []
try {
  await run()
} catch (error) {
  report.problem('state', error)
} finally {
  await Promise.all(children.map((child) => child.stop()))
  await server.stop()
  rmSync(dir, { recursive: true, force: true })
}
process.exit(report.finish())

async function run(): Promise<void> {
  await fill()
  const load = await start('load', OTHER_CORE, 'ready')
  const ours = await start('state', CONTENDER_CORE)
  const rival = await start('fastify', CONTENDER_CORE)
  const random = seededRandom(1)
  const paths = Array.from({ length: 5000 }, () => pathOf(Math.floor(random() * MEMBERS)))
  const isSame = await answersAlike(ours.port, rival.port, paths.slice(0, 20))
  const seconds = flags.seconds / flags.rounds
  const take = (port: number, connections: number, forSeconds: number): Promise<LoadResult> =>
    load.child.ask({ port, paths, connections, seconds: forSeconds } satisfies LoadOrder)
  for (const { connections, aim } of LOADS) {
    const name = `${connections} connection${connections === 1 ? '' : 's'}`
    if (!name.includes(flags.only)) continue
    const turns: [ours: LoadResult, rival: LoadResult][] = []
    for (const { port } of [ours, rival]) await take(port, connections, WARM_UP_SECONDS)
    for (let round = 0; round < flags.rounds; round++) {
      const order = round % 2 === 0 ? [ours, rival] : [rival, ours]
      const results = new Map<number, LoadResult>()
      for (const { port } of order) results.set(port, await take(port, connections, seconds))
      turns.push([results.get(ours.port)!, results.get(rival.port)!])
    }
    const isRight = isSame && turns.flat().every(({ faults }) => faults === 0)
    compare(`${name}: requests`, '/s', turns, isRight, aim, (r) => r.requests / r.seconds)
    compare(`${name}: p50`, 'ms', turns, isRight, null, (r) => r.p50Ms)
    compare(`${name}: p99`, 'ms', turns, isRight, null, (r) => r.p99Ms)
  }
}

/** Of rates ours over the rival's, of times the rival's over ours: above 1 ours is better. */
function compare(
  row: string,
  unit: string,
  turns: readonly (readonly [LoadResult, LoadResult])[],
  correct: boolean,
  aim: number | null,
  of: (result: LoadResult) => number,
): void {
  const ratios = turns.map(([mine, theirs]) =>
    aim === null ? of(theirs) / of(mine) : of(mine) / of(theirs),
  )
  report.add({
    row,
    unit,
    ours: median(turns.map(([mine]) => of(mine))),
    rival: median(turns.map(([, theirs]) => of(theirs))),
    rival_name: RIVAL,
    ratio: median(ratios),
    spread: [Math.min(...ratios), Math.max(...ratios)],
    aim: aim === null ? 'none' : `ratio >= ${aim}`,
    met: aim === null || median(ratios) >= aim,
    correct,
  })
}

async function fill(): Promise<void> {
  const deps = {
    clock: systemClock,
    random: seededRandom(1),
    log: silentLog,
    counters: memoryCounters(),
  }
  const database = await openDatabase({ url: new Secret(server.url), name: 'bench' }, deps)
  await migrate(database, deps)
  await database.query(
    `insert into members (guild_id, user_id, data)
     select ${GUILD}, ${FIRST_USER} + n, jsonb_build_object(
       'user', jsonb_build_object('id', (${FIRST_USER} + n)::text, 'username', 'user' || n, 'avatar', md5(n::text)),
       'roles', jsonb_build_array(md5('a' || n), md5('b' || n)), 'nick', 'nick ' || n, 'bio', repeat('x', ${PADDING_BYTES}))
     from generate_series(0, ${MEMBERS - 1}) as n`,
  )
  await database.query('vacuum analyze members')
  await database.close()
}

async function start(
  name: string,
  core: number,
  expected?: string,
): Promise<{ readonly child: Child; readonly port: number }> {
  const file = fileURLToPath(new URL(`state/processes/${name}${EXTENSION}`, import.meta.url))
  const child = new Child({ name, file, args: [server.url], core, log: join(dir, `${name}.log`) })
  children.push(child)
  const message = await child.message<number | string>()
  if (expected !== undefined && message !== expected) throw new Error(`${name} said ${message}`)
  return { child, port: Number(message) }
}

async function answersAlike(
  port: number,
  rivalPort: number,
  paths: readonly string[],
): Promise<boolean> {
  for (const path of paths) {
    const bodies = await Promise.all(
      [port, rivalPort].map(async (each) =>
        (await fetch(`http://127.0.0.1:${each}${path}`)).text(),
      ),
    )
    if (bodies[0] !== bodies[1] || !bodies[0]!.includes('"bio"')) return false
  }
  return true
}

function pathOf(n: number): string {
  return `/v1/events/guilds/${GUILD}/members/${FIRST_USER + BigInt(n)}`
}

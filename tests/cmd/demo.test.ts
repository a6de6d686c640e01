import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, test } from 'vitest'
import { Program } from '../support/program.ts'
import { until } from '../support/until.ts'

const MAIN = 'cmd/demo/main.ts'
const FIRST_LINE_MS_MAX = 15_000

const programs: Program[] = []

afterAll(async () => {
  // Its programs end with it only if it ends in order.
  for (const program of programs) program.kill('SIGTERM')
  await Promise.all(programs.map((program) => program.exited))
})

async function start(argv: readonly string[]): Promise<Program> {
  const program = new Program(MAIN, argv)
  programs.push(program)
  const startedAt = performance.now()
  const { lines } = program
  await program.waitFor(() => (lines.length > 0 ? true : null), 'a first line', FIRST_LINE_MS_MAX)
  expect(performance.now() - startedAt).toBeLessThan(FIRST_LINE_MS_MAX)
  return program
}

/** The simulator and the gateway, while the demo runs. */
async function childrenOf(demo: Program): Promise<number[]> {
  let children: number[] = []
  await until(
    () => {
      children = readFileSync(`/proc/${demo.pid}/task/${demo.pid}/children`, 'utf8')
        .trim()
        .split(' ')
        .filter((pid) => pid !== '')
        .map(Number)
      return children.length === 2
    },
    { timeoutMs: 20_000, what: 'two programs of the demo' },
  )
  return children
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Whether somebody still listens on an address that the demo printed. */
async function isServed(url: string): Promise<boolean> {
  return fetch(url).then(
    () => true,
    () => false,
  )
}

function urlsOf(demo: Program): string[] {
  return [...new Set(demo.output.match(/http:\/\/127\.0\.0\.1:\d+/g))]
}

describe('the demo', () => {
  test('-once checks itself, prints a summary, exits with 0 and leaves no process behind', async () => {
    const demo = await start(['-once', '-guilds=20', '-shards=2'])
    const children = await childrenOf(demo)
    expect(await demo.exited, demo.output).toEqual({ code: 0, signal: null })
    for (const said of [
      /^ready +2 of 2 shards/m,
      /^state +\d+ guilds and a member of each equal the simulated world/m,
      /^events +[1-9]\d* received, \d+ types/m,
      /^gaps +0$/m,
      /stopped: everything that was read is delivered/,
    ]) {
      expect(demo.output).toMatch(said)
    }
    expect(children.filter(isAlive)).toEqual([])
    expect(urlsOf(demo)).toHaveLength(2)
    for (const url of urlsOf(demo)) expect(await isServed(url)).toBe(false)
  }, 120_000)

  test('SIGINT during the live view drains, says so, exits with 0 and leaves no process behind', async () => {
    const demo = await start(['-guilds=20', '-shards=2'])
    const children = await childrenOf(demo)
    await demo.waitFor(
      () => (/^shards +2 of 2 ready/m.test(demo.output) ? true : null),
      'a view with every shard ready',
      40_000,
    )
    const view = /^events +[1-9]\d*\/s to the consumer/m
    await demo.waitFor(() => (view.test(demo.output) ? true : null), 'a view with events')
    for (const url of urlsOf(demo)) expect(await isServed(url)).toBe(true)
    demo.kill('SIGINT')
    expect(await demo.exited).toEqual({ code: 0, signal: null })
    expect(demo.output).toContain('stopping: the gateway drains')
    expect(demo.output).toContain('stopped: everything that was read is delivered')
    expect(demo.output).toContain('no process is left behind')
    expect(children.filter(isAlive)).toEqual([])
    for (const url of urlsOf(demo)) expect(await isServed(url)).toBe(false)
  }, 120_000)
})

/**
 * Our websocket client against `ws`, TLS, in processes of their own: 720 connections with one frame in a write, as
 * Discord sends, and 16 that are always behind. bench/README.md#websocket
 */
import { fork } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type BenchFlags, readBenchFlags } from './flags.ts'
import { median } from './harness.ts'
import { Report } from './report.ts'
import type { ClientMessage, ClientOrder, Load, ServerMessage } from './websocket/messages.ts'

interface Scenario {
  readonly name: string
  readonly connections: number
  readonly rate: number
  /** For a round of so many seconds. */
  readonly framesPerSecond: number
  readonly aim: number
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: '720 connections, a frame in a write',
    connections: 720,
    rate: 20_000,
    framesPerSecond: 20_000,
    aim: 1.05,
  },
  {
    name: '16 connections, coalesced',
    connections: 16,
    rate: 0,
    framesPerSecond: 300_000,
    aim: 1.05,
  },
]
/** Memory is compared where there are enough connections to tell. */
const MEMORY_SCENARIO = SCENARIOS[0]!

interface Turn {
  readonly nanosPerFrame: number
  readonly kibPerConnection: number
}

const flags = readBenchFlags(process.argv.slice(2), {
  seconds: 10,
  rounds: 5,
  json: false,
  only: '',
})
const report = new Report('websocket', flags)
const server = start('server')
const { port, cert } = await next<ServerMessage>(server)
try {
  for (const scenario of SCENARIOS) {
    if (scenario.name.includes(flags.only)) await compare(scenario, flags)
  }
} finally {
  server.kill()
}
process.exitCode = report.finish()

async function compare(scenario: Scenario, { rounds, seconds }: BenchFlags): Promise<void> {
  const frames = Math.round((scenario.framesPerSecond * seconds) / rounds)
  const ours: Turn[] = []
  const theirs: Turn[] = []
  let isCorrect = true
  for (let round = 0; round < rounds; round++) {
    const order: ('ours' | 'ws')[] = round % 2 === 0 ? ['ours', 'ws'] : ['ws', 'ours']
    for (const who of order) {
      try {
        const turn = await take(scenario, who, frames)
        ;(who === 'ours' ? ours : theirs).push(turn)
      } catch (error) {
        report.problem(`${scenario.name}, ${who}`, error)
        isCorrect = false
      }
    }
  }
  const of = (turns: readonly Turn[], key: keyof Turn): number[] => turns.map((turn) => turn[key])
  add(
    `${scenario.name}: CPU a frame`,
    'ns',
    of(ours, 'nanosPerFrame'),
    of(theirs, 'nanosPerFrame'),
    scenario.aim,
    isCorrect,
  )
  if (scenario === MEMORY_SCENARIO) {
    add(
      'memory of an idle connection',
      'KiB',
      of(ours, 'kibPerConnection'),
      of(theirs, 'kibPerConnection'),
      1,
      isCorrect,
    )
  }
}

function add(
  row: string,
  unit: string,
  ours: number[],
  theirs: number[],
  aim: number,
  isCorrect: boolean,
): void {
  const ratios = ours.map((value, round) => (theirs[round] ?? Number.NaN) / value)
  const ratio = ratios.length === 0 ? null : median(ratios)
  report.add({
    row,
    unit,
    ours: ours.length === 0 ? null : median(ours),
    rival: theirs.length === 0 ? null : median(theirs),
    rival_name: 'ws',
    ratio,
    spread: ratios.length === 0 ? [0, 0] : [Math.min(...ratios), Math.max(...ratios)],
    aim: `ratio >= ${aim}`,
    met: ratio !== null && ratio >= aim,
    correct: isCorrect,
  })
}

/** One process, its connections, its share of the frames. */
async function take(scenario: Scenario, who: 'ours' | 'ws', frames: number): Promise<Turn> {
  const client = start('client')
  try {
    const order: ClientOrder = {
      who,
      url: `wss://localhost:${port}/?v=10&encoding=etf`,
      cert,
      connections: scenario.connections,
      frames,
    }
    client.send(order)
    const open = await next<ClientMessage>(client)
    if (open.type !== 'open') throw new Error('it was done before it began')
    server.send({ frames, rate: scenario.rate } satisfies Load)
    const done = await next<ClientMessage>(client)
    if (done.type !== 'done' || done.bytes !== done.frames * 240)
      throw new Error('bytes are missing')
    return {
      nanosPerFrame: (done.cpuMicros * 1000) / done.frames,
      kibPerConnection: open.rssBytesPerConnection / 1024,
    }
  } finally {
    client.kill()
    await once(client, 'exit')
  }
}

function start(name: string): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const file = fileURLToPath(new URL(`./websocket/processes/${name}.${extension}`, import.meta.url))
  return fork(file, { execArgv: ['--expose-gc'] })
}

async function next<T>(child: ChildProcess): Promise<T> {
  const ended = new AbortController()
  const exit = once(child, 'exit', { signal: ended.signal }).then(() => {
    throw new Error('a process of the bench ended')
  })
  const message = once(child, 'message', { signal: ended.signal })
  try {
    const [value] = (await Promise.race([message, exit])) as [T]
    return value
  } finally {
    ended.abort()
    message.catch(() => undefined)
    exit.catch(() => undefined)
  }
}

/** Simulator, gateway on its embedded store, one consumer: what flows, live; with -once, checked. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '../../src/base/index.ts'
import { parseOptions, renderHelp } from '../../src/config/index.ts'
import { failProgram } from '../program.ts'
import { Child } from './child.ts'
import { Consumer } from './consumer.ts'
import { compareGuild, type WorldGuild } from './verify.ts'
import { renderView } from './view.ts'

const OPTIONS = [
  {
    flag: 'once',
    kind: 'switch',
    default: '',
    sentence: 'Runs a few seconds, checks itself, prints a summary and exits with 0 or 1.',
  },
  {
    flag: 'shards',
    kind: 'integer',
    min: 1,
    max: 64,
    default: '4',
    sentence: 'Shards of the bot.',
  },
  {
    flag: 'guilds',
    kind: 'integer',
    min: 1,
    max: 2000,
    default: '50',
    sentence: 'Guilds of the bot.',
  },
  {
    flag: 'rate',
    kind: 'integer',
    min: 0,
    max: 5000,
    unit: 'changes per second',
    default: '200',
    sentence: 'Changes of the simulated world.',
  },
  {
    flag: 'redis',
    kind: 'text',
    default: '',
    sentence: 'A Redis that gets the events too, as lists and as a stream: host:port or redis://…',
  },
] as const

/** Where the examples of bots read. */
const DESTINATIONS = `destinations:
  - {name: subscribers, kind: grpc-subscribe, required: true}
  - {name: lists, kind: redis-list, address: "REDIS"}
  - {name: stream, kind: redis-stream, address: "REDIS", encoding: json}
`

/** Enough for a guild of each shard to change. */
const ONCE_TRAFFIC_MS = 4000
const START_TIMEOUT_MS = 60_000
const TABLES = ['guilds', 'channels', 'roles', 'members']

interface Demo {
  readonly simUrl: string
  readonly httpUrl: string
  readonly stateUrl: string
  readonly grpcAddress: string
  readonly sim: Child
  readonly gateway: Child
  readonly consumer: Consumer
  readonly shardCount: number
  readonly token: string
  readonly redis: string
}

export async function main(argv: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'gateway-demo-'))
  const children: Child[] = []
  const consumer = new Consumer()
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => interrupted.abort(new Error(signal)))
  }
  try {
    const { values, isHelp } = parseOptions(OPTIONS, argv, {})
    if (isHelp) {
      process.stdout.write(
        renderHelp('demo', 'the whole gateway against a simulated Discord', OPTIONS),
      )
      return
    }
    say('starting a simulated Discord and the gateway …')
    const demo = await start(values, folder, children, consumer)
    if (values.get('once') !== undefined) await once(demo, interrupted.signal)
    else await watch(demo, interrupted.signal)
    say('\nstopping: the gateway drains …')
    const [gateway, sim] = [demo.gateway, demo.sim]
    consumer.close()
    const code = await gateway.stop()
    await sim.stop()
    say(lastMessage(gateway) ?? 'the gateway has stopped')
    if (code !== 0) throw new Error(`the gateway ended with code ${code}\n${gateway.tail()}`)
    say('no process is left behind')
  } catch (error) {
    failProgram(`demo: ${messageOf(error)}`)
  } finally {
    consumer.close()
    await Promise.all(children.map((child) => child.stop()))
    rmSync(folder, { recursive: true, force: true })
  }
  process.exit()
}

async function start(
  values: ReadonlyMap<string, string>,
  folder: string,
  children: Child[],
  consumer: Consumer,
): Promise<Demo> {
  const shardCount = Number(values.get('shards'))
  const sim = new Child('the simulator', 'sim/main', [
    '-port=0',
    `-shards=${shardCount}`,
    `-guilds=${values.get('guilds')}`,
    `-rate=${values.get('rate')}`,
    `-max-concurrency=${shardCount}`,
  ])
  children.push(sim)
  const word = (name: string): Promise<string> =>
    sim.waitFor(
      (line) => (line.startsWith(`${name} `) ? line.slice(name.length + 1) : null),
      name,
      START_TIMEOUT_MS,
    )
  const [simUrl, token] = [await word('url'), await word('token')]
  say(`Discord (simulated)   ${simUrl}`)
  const gateway = new Child(
    'the gateway',
    'cmd/gateway/main',
    [
      '-prod',
      '-intents=all',
      '-members=all',
      '-addr=127.0.0.1:0',
      '-http=127.0.0.1:0',
      `-discord-api=${simUrl}/api`,
      `-data=${join(folder, 'data')}`,
      ...destinationFlags(values.get('redis'), folder),
    ],
    { DISCORD_TOKEN: token },
  )
  children.push(gateway)
  const field = (message: string, name: string): Promise<string> =>
    gateway.waitFor(
      (line) => {
        const entry = parseLine(line)
        return entry?.['msg'] === message ? String(entry[name]) : null
      },
      `"${message}"`,
      START_TIMEOUT_MS,
    )
  const grpcAddress = await field('serving gRPC', 'address')
  consumer.connect(grpcAddress)
  const httpUrl = await field('serving HTTP', 'url')
  say(`gateway               ${httpUrl}, gRPC ${grpcAddress}`)
  return {
    simUrl,
    httpUrl,
    stateUrl: `${httpUrl}/v1/events`,
    grpcAddress,
    sim,
    gateway,
    consumer,
    shardCount,
    token,
    redis: values.get('redis') ?? '',
  }
}

/** With a Redis the events go there as well; without one the default is gRPC alone. */
function destinationFlags(redis: string | undefined, folder: string): string[] {
  if (redis === undefined || redis === '') return []
  const file = join(folder, 'destinations.yaml')
  writeFileSync(file, DESTINATIONS.replaceAll('REDIS', redis))
  return [`-destinations=${file}`]
}

async function watch(demo: Demo, signal: AbortSignal): Promise<void> {
  const startedAt = performance.now()
  let before = new Map<string, number>()
  let shownAt = startedAt
  const guildId = (await world(demo.simUrl)).guilds.find((guild) => !guild.unavailable)?.id ?? ''
  const ended = demo.gateway.exited.then((code) => {
    throw new Error(`the gateway ended with code ${code}\n${demo.gateway.tail()}`)
  })
  ended.catch(() => undefined)
  while (!signal.aborted) {
    await Promise.race([pause(1000, signal), ended])
    const now = performance.now()
    const rates = new Map<string, number>()
    for (const [name, count] of demo.consumer.counts) {
      const rate = ((count - (before.get(name) ?? 0)) * 1000) / (now - shownAt)
      if (rate > 0) rates.set(name, rate)
    }
    before = new Map(demo.consumer.counts)
    shownAt = now
    // For the bots of examples/, which answer it.
    await ping(demo.simUrl)
    const metrics = await scrape(demo.httpUrl).catch(() => new Map<string, number>())
    const text = renderView({
      seconds: (now - startedAt) / 1000,
      shards: await demo.consumer.shardStates(),
      rates,
      received: demo.consumer.total,
      queued: sum(metrics, 'gateway_push_queue_events'),
      gaps: sum(metrics, 'gateway_gaps_total'),
      lists: {
        fetched: sum(metrics, 'gateway_members_fetched_guilds_total'),
        waiting: sum(metrics, 'gateway_members_waiting_guilds'),
      },
      rows: await rowCounts(demo.stateUrl, guildId),
      urls: [
        `curl ${demo.stateUrl}/guilds/${guildId}`,
        `curl ${demo.stateUrl}/guilds/${guildId}/members`,
        `curl ${demo.stateUrl}/guilds_count`,
        `curl ${demo.httpUrl}/metrics`,
      ],
      bots: exampleCommands(demo),
    })
    if (process.stdout.isTTY) process.stdout.write(`\x1b[H\x1b[2J${text}\n`)
    else say(`${text}\n`)
  }
}

async function once(demo: Demo, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS
  let metrics = await scrape(demo.httpUrl)
  while ((metrics.get('gateway_shards{state="ready"}') ?? 0) < demo.shardCount) {
    if (performance.now() > deadline)
      throw new Error(`not every shard is READY\n${demo.gateway.tail()}`)
    await pause(100, signal)
    signal.throwIfAborted()
    metrics = await scrape(demo.httpUrl)
  }
  say(`ready                 ${demo.shardCount} of ${demo.shardCount} shards`)
  await pause(ONCE_TRAFFIC_MS, signal)
  signal.throwIfAborted()
  await fetch(`${demo.simUrl}/control/pause`, { method: 'POST' })
  const { guilds: all, bot_user: bot } = await world(demo.simUrl)
  const guilds = all.filter((guild) => !guild.unavailable)
  let problems: string[] = []
  for (;;) {
    problems = []
    for (const guild of guilds) problems.push(...(await compareGuild(demo.stateUrl, guild, bot.id)))
    // What was read last may still be on its way to the cache.
    if (problems.length === 0 || performance.now() > deadline) break
    await pause(200, signal)
    signal.throwIfAborted()
  }
  if (problems.length > 0)
    throw new Error(`State differs from the world:\n${problems.slice(0, 10).join('\n')}`)
  say(
    `state                 ${guilds.length} guilds and a member of each equal the simulated world`,
  )
  const received = demo.consumer.total
  if (received === 0) throw new Error('the consumer received no event')
  const types = [...demo.consumer.counts].sort(([, a], [, b]) => b - a)
  say(
    `events                ${received} received, ${types.length} types: ${types
      .slice(0, 5)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')} …`,
  )
  metrics = await scrape(demo.httpUrl)
  const gaps = sum(metrics, 'gateway_gaps_total')
  if (gaps > 0) throw new Error(`${gaps} gaps: events were lost\n${demo.gateway.tail()}`)
  say('gaps                  0')
}

/** Somebody writes "ping". */
async function ping(simUrl: string): Promise<void> {
  const body = JSON.stringify({ content: 'ping' })
  await fetch(`${simUrl}/control/message`, { method: 'POST', body }).catch(() => undefined)
}

/** Bots that answer a ping, ready to copy. */
function exampleCommands(demo: Demo): string[] {
  const variables = [
    `DISCORD_API=${demo.simUrl}/api`,
    `DISCORD_TOKEN='${demo.token}'`,
    `GATEWAY=${demo.grpcAddress}`,
    ...(demo.redis === '' ? [] : [`REDIS_URL=${demo.redis}`]),
  ]
  const others = demo.redis === '' ? 'discordjs' : 'discordjs, redis-list, redis-stream'
  return [`export ${variables.join(' ')}`, `npm run example -- grpc  (or ${others})`]
}

/** The world, as the simulator tells the truth. */
async function world(simUrl: string): Promise<{ guilds: WorldGuild[]; bot_user: { id: string } }> {
  const response = await fetch(`${simUrl}/control/world`)
  return (await response.json()) as { guilds: WorldGuild[]; bot_user: { id: string } }
}

async function scrape(httpUrl: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${httpUrl}/metrics`)).text()
  const values = new Map<string, number>()
  for (const line of text.split('\n')) {
    const match = /^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$/.exec(line)
    if (match !== null) values.set(match[1]!, Number(match[2]))
  }
  return values
}

function sum(metrics: ReadonlyMap<string, number>, name: string): number {
  let total = 0
  for (const [key, value] of metrics) if (key === name || key.startsWith(`${name}{`)) total += value
  return total
}

/** Rows of one guild and the number of guilds, read as anybody would. */
async function rowCounts(stateUrl: string, guildId: string): Promise<Map<string, number>> {
  const rows = new Map<string, number>()
  for (const table of TABLES) {
    const url =
      table === 'guilds' ? `${stateUrl}/guilds_count` : `${stateUrl}/guilds/${guildId}/${table}`
    const response = await fetch(url).catch(() => null)
    if (response === null || !response.ok) continue
    const name = table === 'guilds' ? 'guilds' : `${table} in guild ${guildId}`
    rows.set(
      name,
      table === 'guilds'
        ? Number(await response.text())
        : ((await response.json()) as unknown[]).length,
    )
  }
  return rows
}

function parseLine(line: string): Record<string, unknown> | null {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return null
  }
}

function lastMessage(child: Child): string | null {
  const entry = parseLine(child.lines.at(-1) ?? '')
  return entry === null ? null : `gateway: ${String(entry['msg'])}`
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) {
      resolve()
      return
    }
    const timer = setTimeout(resolve, ms)
    signal.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

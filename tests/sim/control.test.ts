import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { SIM_ERRORS, startSim } from '../../sim/index.ts'
import type { LedgerGap, Sim, SimOptions } from '../../sim/index.ts'
import { Ledger } from '../../sim/ledger.ts'
import { readFlags } from '../../sim/flags.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { until } from '../support/until.ts'
import { connect, connectReady } from './raw-client.ts'

let sim: Sim
afterEach(() => sim?.stop())
async function start(options: Partial<SimOptions> = {}): Promise<Sim> {
  sim = await startSim({ guilds: 6, shards: 2, maxConcurrency: 2, ...options })
  return sim
}
const get = async (path: string): Promise<unknown> =>
  (await fetch(`${sim.url}/control${path}`)).json()
const post = (path: string, body?: unknown): Promise<Response> =>
  fetch(`${sim.url}/control${path}`, {
    method: 'POST',
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
const lines = async (query: string): Promise<Record<string, unknown>[]> => {
  const text = await (await fetch(`${sim.url}/control/ledger${query}`)).text()
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
}

/** The answer's first bytes to a request that no client would make. */
async function rawGet(path: string, host: string, headers = ''): Promise<string> {
  const socket = createConnection(Number(new URL(sim.url).port), '127.0.0.1')
  socket.write(`GET ${path} HTTP/1.1\r\nhost: ${host}\r\n${headers}\r\n`)
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  socket.destroy()
  return chunk.toString()
}

describe('the control endpoint', () => {
  test('streams the ledger as NDJSON, of one shard, from where it was left', async () => {
    await start()
    const client = await connectReady(sim, { identify: { shard: [0, 2] } })
    await connectReady(sim, { identify: { shard: [1, 2] } })
    await post('/step?count=500')
    const all = await lines('')
    expect(all.length).toBe(sim.ledger.size)
    const shard0 = await lines('?shard=0')
    expect(shard0.every((line) => line['shard'] === 0)).toBe(true)
    expect(shard0[0]).toMatchObject({
      session: client.sessionId,
      s: 1,
      t: 'READY',
      shardCount: 2,
      writes: 1,
    })
    expect(shard0[0]).not.toHaveProperty('d')
    const after = shard0[10]!['n'] as number
    expect(await lines(`?shard=0&after=${after}`)).toEqual(shard0.slice(11))
    const [event] = [...sim.ledger.events({ after: after - 1 })]
    const [line] = await lines(`?after=${after - 1}&bytes=1`)
    expect(line!['d']).toBe(event!.d!.toString('base64'))
    expect((await fetch(`${sim.url}/control/ledger?after=x`)).status).toBe(400)
  })

  test('shows world, stats, sessions, identifies, closes and gaps', async () => {
    await start()
    const client = await connectReady(sim)
    expect(await get('/world')).toMatchObject({ guilds: { length: 6 } })
    expect(await get('/stats')).toMatchObject({ identifies: 1, identifiesLeft: 999, sessions: 1 })
    expect(await get('/sessions')).toMatchObject([
      { id: client.sessionId, connected: true, query: 'json,none' },
    ])
    expect(await get('/identifies')).toMatchObject([{ outcome: 'ready', shard: 0, shardCount: 1 }])
    await until(() => client.sequence === sim.sessions[0]!.sequence)
    expect((await post('/fault', { kind: 'close', code: 4000 })).status).toBe(200)
    await client.waitClosed()
    sim.step(200)
    const { sequence } = sim.sessions[0]!
    sim.fault({ kind: 'expire-session' })
    expect(await get('/closes')).toMatchObject([{ by: 'server', code: 4000 }])
    expect(await get('/gaps')).toMatchObject([
      {
        session: client.sessionId,
        cause: 'fault',
        from: client.sequence + 1,
        to: sequence,
        resumeSeq: null,
      },
    ] satisfies Partial<LedgerGap>[])
    expect(await get('/ends')).toHaveLength(1)
    expect(await get('/resumes')).toEqual([])
  })

  test('refuses a fault it does not know, a body that is none, and other paths', async () => {
    await start()
    for (const body of [
      { kind: 'nope' },
      { kind: 'close', kode: 1 },
      { kind: 'tcp-drop', shard: 0 },
    ]) {
      const response = await post('/fault', body)
      expect(response.status).toBe(400)
      expect(((await response.json()) as { message: string }).message).toMatch(/^\[SIM_/)
    }
    expect((await post('/fault')).status).toBe(400)
    expect((await fetch(`${sim.url}/control/nothing`)).status).toBe(404)
    expect((await fetch(`${sim.url}/`)).status).toBe(404)
    expect(await rawGet('//', 'a b')).toContain(' 404 ')
    expect(await rawGet('//', 'a b', 'connection: upgrade\r\nupgrade: websocket\r\n')).toContain(
      ' 400 ',
    )
  })

  test('pauses the world, lets it go on, and changes its rate', async () => {
    await start({ rate: 1000 })
    await connectReady(sim)
    await until(() => sim.stats().eventsEmitted > 0)
    await post('/pause')
    const { eventsEmitted } = sim.stats()
    await new Promise((resolve) => setTimeout(resolve, 40))
    expect(sim.stats().eventsEmitted).toBe(eventsEmitted)
    expect(await (await post('/rate?rate=500')).json()).toEqual({ rate: 500 })
    await until(() => sim.stats().eventsEmitted > eventsEmitted)
  })
})

test('the world changes as often as the rate says', async () => {
  const clock = new FakeClock()
  sim = await startSim({ guilds: 3, rate: 250, helloMs: 0 }, { clock })
  await connectReady(sim)
  await clock.advance(2000)
  expect((sim.world.snapshot() as { steps: number }).steps).toBe(500)
  sim.pause()
  await clock.advance(1000)
  expect((sim.world.snapshot() as { steps: number }).steps).toBe(500)
})

test('a refused RESUME after the end moves the gap to what the client confirmed', async () => {
  const clock = new FakeClock()
  sim = await startSim({ guilds: 2, helloMs: 0, sessionTtlMs: 1000 }, { clock })
  const client = await connectReady(sim)
  await until(() => client.sequence === sim.sessions[0]!.sequence)
  client.ws.terminate()
  await until(() => sim.sessions[0]!.reader === null)
  await clock.advance(1000)
  expect(sim.ledger.gaps()).toEqual([])
  const second = await connect(sim)
  second.resume(sim, client.sessionId, client.sequence - 1)
  await second.waitClosed()
  expect(sim.ledger.gaps()).toMatchObject([
    { from: client.sequence, to: client.sequence, lastSent: client.sequence },
  ])
})

test('an end names the session that took over, and counts what no session took', async () => {
  const clock = new FakeClock()
  sim = await startSim({ guilds: 2, helloMs: 0, identifyWindowMs: 0 }, { clock })
  const first = await connectReady(sim)
  first.ws.terminate()
  await until(() => sim.sessions[0]!.reader === null)
  const second = await connectReady(sim)
  await clock.advance(60_000)
  second.send(1, null)
  await second.waitOp(11)
  await clock.advance(30_000)
  expect(sim.ledger.ends).toMatchObject([
    { session: first.sessionId, cause: 'expired', successor: second.sessionId, unheard: 0 },
  ])
  second.ws.close(1000)
  await until(() => sim.sessions.length === 0)
  sim.step(50)
  expect(sim.ledger.ends[1]).toMatchObject({ cause: 'closed', successor: null })
  const { unheard } = sim.ledger.ends[1]!
  expect(unheard).toBeGreaterThanOrEqual(40)
  await connectReady(sim)
  sim.step(50)
  expect(sim.ledger.ends[1]!.unheard).toBe(unheard)
})

test('the identify budget is filled up after a day', async () => {
  const clock = new FakeClock()
  sim = await startSim({ guilds: 1, helloMs: 0, identifyLimit: 1 }, { clock })
  await connectReady(sim)
  expect(sim.stats().identifiesLeft).toBe(0)
  await clock.advance(86_400_000)
  expect(sim.stats().identifiesLeft).toBe(1)
})

test('the ledger forgets bytes first, then the oldest events, and says so', () => {
  const ledger = new Ledger({ eventsMax: 10, bytesMax: 25 })
  for (let s = 1; s <= 30; s++) {
    ledger.record({
      atMs: 0,
      session: 'a',
      shard: 0,
      shardCount: 1,
      s,
      t: 'T',
      guildId: null,
      hash: '',
      d: Buffer.alloc(5),
    })
  }
  const kept = [...ledger.events()]
  expect(kept.map((event) => event.s)).toEqual([21, 22, 23, 24, 25, 26, 27, 28, 29, 30])
  expect(kept.map((event) => event.d !== null)).toEqual([
    ...Array<boolean>(5).fill(false),
    ...Array<boolean>(5).fill(true),
  ])
  expect(ledger.dropped).toBe(20)
})

describe('the program', () => {
  const run = (...argv: string[]): ReturnType<typeof spawn> =>
    spawn(process.execPath, ['sim/main.ts', ...argv], { stdio: ['ignore', 'pipe', 'pipe'] })
  const output = (child: ReturnType<typeof run>): { text: string } => {
    const out = { text: '' }
    const add = (chunk: Buffer): void => {
      out.text += chunk.toString()
    }
    child.stdout?.on('data', add)
    child.stderr?.on('data', add)
    return out
  }

  test('prints its URL and token, serves, and ends cleanly on SIGINT', async () => {
    const child = run('-port=0', '--guilds', '2', '-rate', '50')
    const out = output(child)
    await until(() => out.text.includes('Ctrl-C ends'))
    const url = /^url (http:\S+)$/m.exec(out.text)![1]!
    const token = /^token (\S+)$/m.exec(out.text)![1]!
    const response = await fetch(`${url}/api/v10/gateway/bot`, {
      headers: { authorization: `Bot ${token}` },
    })
    expect(response.status).toBe(200)
    child.kill('SIGINT')
    expect(await once(child, 'exit')).toEqual([0, null])
    expect(out.text).toContain('stopped after')
  })

  test('explains itself, and an unknown flag with the nearest', async () => {
    const help = run('-help')
    const helped = output(help)
    expect(await once(help, 'close')).toEqual([0, null])
    expect(helped.text).toContain('-identify-limit')
    const wrong = run('-gilds', '3')
    const said = output(wrong)
    expect(await once(wrong, 'close')).toEqual([2, null])
    expect(said.text).toContain('did you mean -guilds?')
  })

  test("reads flags in Go's style", () => {
    expect(
      readFlags(['-port', '0', '--rate=200', '-tls', '-replay-trim=false', '-session-ttl', '5s']),
    ).toEqual({
      port: 0,
      rate: 200,
      tls: true,
      replayTrim: false,
      sessionTtlMs: 5000,
    })
    expect(
      readFlags([
        '-fault',
        'tcp-drop,after=1s',
        '-fault',
        'reconnect',
        '-liberties',
        'ready-zero,omit-nulls',
      ]),
    ).toEqual({
      faults: ['tcp-drop,after=1s', 'reconnect'],
      liberties: ['ready-zero', 'omit-nulls'],
    })
    expect(readFlags(['-atoms', '119', '-intents', 'GUILDS,GUILD_MEMBERS'])).toEqual({
      atoms: 119,
      intents: 3,
    })
    for (const argv of [
      ['-port'],
      ['-port', 'x'],
      ['-port', '70000'],
      ['-atoms', '100x'],
      ['rate'],
      ['-liberties', 'a'],
    ]) {
      expect(() => readFlags(argv)).toThrow('SIM_BAD_OPTION')
    }
  })

  test('over TLS is trusted by who trusts its certificate', async () => {
    await start({ tls: true })
    const client = await connectReady(sim, { encoding: 'etf', compress: 'zlib-stream' })
    sim.step(50)
    await until(() => sim.sessions[0]!.lastSent === sim.sessions[0]!.sequence)
    expect(sim.gatewayUrl).toMatch(/^wss:/)
    expect(sim.certificate!.cert).toMatch(/^-----BEGIN CERTIFICATE-----/)
    client.ws.terminate()
  })
})

test('every error code is explained', () => {
  for (const sentence of Object.values(SIM_ERRORS)) expect(sentence).toMatch(/\.$/)
})

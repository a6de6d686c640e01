import { hash } from 'node:crypto'
import { inflateSync, zstdDecompressSync } from 'node:zlib'
import { constants, createInflate } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { startSim } from '../../sim/index.ts'
import type { Sim, SimOptions } from '../../sim/index.ts'
import { createCompressor } from '../../sim/wire/compressor.ts'
import { DISCORD_SHAPE, EtfWriter } from '../../sim/wire/etf-writer.ts'
import { readEtf } from '../../sim/wire/etf-reader.ts'
import { cut, cutStream, fragmentsOf, frameOf } from '../../sim/wire/frame.ts'
import { decodeTerm, encodeTerm, Envelope, scanEnvelope } from '../../src/etf/index.ts'
import { until } from '../support/until.ts'
import { connect, connectReady } from './raw-client.ts'

let sim: Sim | undefined
afterEach(() => sim?.stop())
async function start(options: Partial<SimOptions>): Promise<Sim> {
  sim = await startSim({ guilds: 3, membersMax: 60, identifyWindowMs: 0, ...options })
  return sim
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('a term is written as Erlang does', () => {
  const writer = new EtfWriter()
  test.each([
    [null, '6400036e696c'],
    [true, '64000474727565'],
    [0, '6100'],
    [255, '61ff'],
    [256, '6200000100'],
    [-1, '62ffffffff'],
    [2 ** 31 - 1, '627fffffff'],
    [2 ** 31, '6e040000000080'],
    [-(2 ** 31) - 1, '6e040101000080'],
    [1_754_500_261_123, '6e060003655d809801'],
    [1_754_500_261_123n, '6e060003655d809801'],
    [7n, '6107'],
    [1_100_000_000_000_000_001n, '6e08000100ee042cfc430f'],
    [0.5, '463fe0000000000000'],
    ['é', '6d00000002c3a9'],
    ['', '6d00000000'],
    [[], '6a'],
    [[0, 16], '6b00020010'],
    [[0, 256], '6c000000026100620000010' + '06a'],
    [{ a: 1 }, '7400000001640001616101'],
    [{ '123': 1 }, '74000000016d000000033132336101'],
  ] as const)('%o', (value, bytes) => {
    expect(hex(writer.term(value))).toBe(bytes)
  })

  test('which the codec reads back, in every shape', () => {
    const value = {
      id: 1_100_000_000_000_000_001n,
      list: [1, 2, 300],
      bytes: [0, 16],
      deep: [{ text: 'ü😀', none: null, yes: true, no: false }],
      float: 1.5,
    }
    for (const atomTag of [100, 115, 119] as const) {
      for (const keys of ['atom', 'binary'] as const) {
        const writer = new EtfWriter({ ...DISCORD_SHAPE, atomTag, keys })
        const term = Buffer.concat([Buffer.from([131]), writer.term(value)])
        expect(decodeTerm(term)).toEqual(value)
      }
    }
  })
})

test('the strict reader takes what the codec writes for Discord', () => {
  const value = {
    op: 2,
    d: { token: 'x', shard: [0, 16], intents: 53608447, ids: ['1', 2], none: null, yes: true },
  }
  expect(JSON.parse(JSON.stringify(readEtf(Buffer.from(encodeTerm(value)))))).toEqual(value)
})

test('frames have the length in 7, 16 and 64 bits, and fragments end with FIN', () => {
  expect(hex(frameOf(2, Buffer.from('ab')))).toBe('82026162')
  expect(hex(frameOf(2, Buffer.alloc(126)).subarray(0, 4))).toBe('827e007e')
  expect(hex(frameOf(1, Buffer.alloc(70_000)).subarray(0, 10))).toBe('817f0000000000011170')
  const fragments = fragmentsOf(2, Buffer.from('abcde'), 3)
  expect(fragments.map((fragment) => fragment[0])).toEqual([0x02, 0x00, 0x80])
  expect(cut(Buffer.from('abcde'), 2).map((piece) => piece.length)).toEqual([3, 2])
  for (const length of [1, 4, 5, 9, 30]) {
    const bytes = Buffer.alloc(length, 7)
    const pieces = cutStream(bytes, 5)
    expect(Buffer.concat(pieces)).toEqual(bytes)
    expect(pieces.at(-1)!.length).toBeGreaterThanOrEqual(Math.min(4, length))
  }
})

describe('compressed messages', () => {
  const messages = ['one', 'two '.repeat(50_000), '', 'three'].map((text) => Buffer.from(text))
  test.each([0, 1, 9])(
    'of a zlib-stream at level %i end with a flush and inflate',
    async (level) => {
      const compressor = createCompressor('zlib-stream', { level, zstdFrames: false })
      const inflate = createInflate()
      const out: Buffer[] = []
      inflate.on('data', (chunk: Buffer) => out.push(chunk))
      for (const message of messages) {
        const bytes = Buffer.from(compressor.compress(message))
        if (bytes.length > 0) expect(hex(bytes.subarray(-4))).toBe('0000ffff')
        await new Promise((resolve) => inflate.write(bytes, resolve))
      }
      await new Promise<void>((resolve) => inflate.flush(constants.Z_SYNC_FLUSH, resolve))
      expect(Buffer.concat(out)).toEqual(Buffer.concat(messages))
      compressor.close()
    },
  )

  test('of a zstd-stream may each be a frame', () => {
    const compressor = createCompressor('zstd-stream', { level: 1, zstdFrames: true })
    for (const message of messages) {
      expect(zstdDecompressSync(compressor.compress(message))).toEqual(message)
    }
  })
})

test.each(['zlib-stream', 'zstd-stream'] as const)(
  'a %s of stored blocks is read like any other',
  async (compress) => {
    const sim = await start({ compressionLevel: 0 })
    const client = await connectReady(sim, { encoding: 'etf', compress })
    await client.waitFor('GUILD_CREATE', 3)
    sim.step(30)
    await until(() => client.sequence === sim.sessions[0]!.sequence)
  },
)

describe('the envelope', () => {
  test("has its keys in Discord's order, with nil where there is nothing", async () => {
    const client = await connect(await start({}), { encoding: 'etf' })
    const hello = hex(client.raw[0]!)
    expect(hello.startsWith('8374000000046400016474')).toBe(true)
    expect(hello.endsWith('6400026f70610a640001736400036e696c640001746400036e696c')).toBe(true)
  })

  test.each([
    { order: 'op,s,t,d' },
    { order: 't,s,op,d' },
    { order: 's,op,d,t', atoms: 115 },
    { order: 'op,d,s,t', atoms: 119 },
    { keys: 'binary' },
    { snowflakes: 'string' },
    { liberties: ['float-integers'] },
  ] as Partial<SimOptions>[])('can be as %o', async (options) => {
    const client = await connectReady(await start(options), { encoding: 'etf' })
    await client.waitFor('GUILD_CREATE', 3)
    const envelope = new Envelope()
    for (const bytes of client.raw) {
      expect(scanEnvelope(bytes, 0, bytes.length, envelope)).toBe(bytes.length)
    }
    const user = (client.of('READY')[0]!.d as { user: { id: unknown } }).user
    expect(typeof user.id).toBe(options.snowflakes === 'string' ? 'string' : 'bigint')
  })

  test('carries d byte for byte as in the ledger', async () => {
    const sim = await start({})
    const client = await connectReady(sim, { encoding: 'etf' })
    sim.step(100)
    await until(() => client.sequence === sim.sessions[0]!.sequence)
    const envelope = new Envelope()
    const sent = client.raw.flatMap((bytes) => {
      scanEnvelope(bytes, 0, bytes.length, envelope)
      return envelope.op === 0 ? [bytes.subarray(envelope.dStart, envelope.dEnd)] : []
    })
    const ledger = [...sim.ledger.events()]
    expect(sent.map(hex)).toEqual(ledger.map((event) => hex(event.d!)))
    expect(sent.map((d) => hash('sha1', d, 'hex'))).toEqual(ledger.map((event) => event.hash))
  })

  test('is compressed by payload when a JSON client without transport compression asks', async () => {
    const sim = await start({})
    const client = await connect(sim)
    const texts: Buffer[] = []
    client.ws.removeAllListeners('message')
    client.ws.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) texts.push(inflateSync(data))
    })
    client.identify(sim, { compress: true })
    await until(() => texts.length === 3)
    expect(texts.every((text) => JSON.parse(text.toString()) !== null)).toBe(true)
  })
})

describe('a liberty', () => {
  test('omit-nulls leaves out s and t, ack-empty-map gives an ACK a map', async () => {
    const sim = await start({ liberties: ['omit-nulls', 'ack-empty-map'] })
    const client = await connect(sim, { encoding: 'etf' })
    expect(Object.keys(client.payloads[0]!)).toEqual(['d', 'op'])
    client.send(1, null)
    expect(await client.waitOp(11)).toEqual({ op: 11, d: {} })
  })

  test('ready-zero numbers READY with 0 and what follows from 1', async () => {
    const sim = await start({ liberties: ['ready-zero', 'ready-version'] })
    const client = await connectReady(sim)
    await client.waitFor('GUILD_CREATE', 3)
    expect(client.dispatches.map((payload) => payload.s)).toEqual([0, 1, 2, 3])
    expect(client.of('READY')[0]!.d).toMatchObject({ v: 9 })
    client.ws.terminate()
    const second = await connect(sim)
    second.resume(sim, client.sessionId, 0)
    await second.waitFor('RESUMED')
    expect(second.dispatches.map((payload) => payload.s)).toEqual([1, 2, 3, 4])
  })

  test('control-sequence and invalid-session-without-d change op 7 and op 9', async () => {
    const sim = await start({ liberties: ['control-sequence', 'invalid-session-without-d'] })
    const client = await connectReady(sim)
    await client.waitFor('GUILD_CREATE', 3)
    sim.fault({ kind: 'reconnect' })
    expect(await client.waitOp(7)).toMatchObject({ s: 4 })
    sim.fault({ kind: 'invalid-session' })
    expect(await client.waitOp(9)).toEqual({ t: null, s: 4, op: 9 })
  })

  test('duplicate-events brings some twice, unknown-events what nobody knows', async () => {
    const sim = await start({ liberties: ['duplicate-events', 'unknown-events', 'nil-fields'] })
    const client = await connectReady(sim)
    sim.step(300)
    await until(() => client.sequence === sim.sessions[0]!.sequence)
    const bodies = client.dispatches.map((payload) => `${payload.t} ${JSON.stringify(payload.d)}`)
    const repeats = bodies.filter((body, index) => body === bodies[index - 1])
    expect(repeats.length).toBeGreaterThan(2)
    expect(client.of('SIM_UNKNOWN_EVENT').length).toBeGreaterThan(0)
    expect(client.ops(77).length).toBeGreaterThan(0)
    expect(client.of('MESSAGE_CREATE')[0]!.d).toHaveProperty('webhook_id')
  })

  test('require-user-agent refuses an upgrade without one', async () => {
    const sim = await start({ liberties: ['require-user-agent'] })
    await connect(sim)
    const status = await new Promise((resolve, reject) => {
      void import('node:http').then(({ request }) => {
        const upgrade = request(`${sim.url}/?v=10&encoding=json`, {
          headers: {
            connection: 'Upgrade',
            upgrade: 'websocket',
            'sec-websocket-version': '13',
            'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
          },
        })
        upgrade.on('response', (response) => resolve(response.statusCode))
        upgrade.on('upgrade', () => resolve(101))
        upgrade.on('error', reject)
        upgrade.end()
      })
    })
    expect(status).toBe(400)
  })
})

test('stubs come as unavailable guilds and are filled later', async () => {
  const sim = await start({ stubs: 2, stubMs: 50 })
  const client = await connectReady(sim)
  await client.waitFor('GUILD_CREATE', 5)
  const created = client
    .of('GUILD_CREATE')
    .map((payload) => (payload.d as { unavailable: boolean }).unavailable)
  expect(created).toEqual([true, true, false, false, false])
})

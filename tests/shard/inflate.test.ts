import { execFileSync } from 'node:child_process'
import zlib from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { handleSelfTest, type Inflater, Inflaters } from '../../src/shard/inflate.ts'
import { seededRandom } from '../../src/base/index.ts'
import { until } from '../support/until.ts'
import { Compressor } from './compressor.ts'

function write(inflater: Inflater, message: Buffer): void {
  inflater.write(message, 0, message.length)
}

class Seen {
  readonly payloads: string[] = []
  readonly failures: string[] = []
  onPayload(bytes: Buffer, start: number, end: number): void {
    this.payloads.push(bytes.toString('latin1', start, end))
  }
  onBadFrame(cause: string): void {
    this.failures.push(cause)
  }
}

const BYTES_MAX = 4 << 20
const fast = new Inflaters(BYTES_MAX)
const slow = new Inflaters(BYTES_MAX, () => 'not here')

test('the native handle passes its self-test on this Node', () => {
  expect(handleSelfTest('zlib-stream')).toBeNull()
  expect(handleSelfTest('zstd-stream')).toBeNull()
  expect(fast.isFast('zlib-stream')).toBe(true)
})

test('a failed self-test selects the documented stream API', () => {
  expect(slow.isFast('zlib-stream')).toBe(false)
})

describe.each([
  ['zlib-stream', 'handle', fast],
  ['zlib-stream', 'stream API', slow],
  ['zstd-stream', 'handle', fast],
  ['zstd-stream', 'stream API', slow],
] as const)('%s by the %s', (compress, _way, inflaters) => {
  test('gives back every payload of one context, from 1 byte to more than its buffer', async () => {
    const random = seededRandom(7)
    const payloads = [1, 10, 1000, 70_000, 256 * 1024, 1_000_000, 3].map((size, index) =>
      Buffer.from(Array.from({ length: size }, () => index + random() * 200)),
    )
    const seen = new Seen()
    const compressor = new Compressor(compress)
    const inflater = inflaters.open(compress, seen)
    for (const payload of payloads) write(inflater, await compressor.compress(payload))
    await until(() => seen.payloads.length === payloads.length)
    expect(
      seen.payloads.map((text) => Buffer.from(text, 'latin1').equals(payloads.shift()!)),
    ).toEqual(Array.from({ length: 7 }, () => true))
    expect(seen.failures).toEqual([])
    inflater.close()
  })

  test('reports a corrupt message once, and nothing after it', async () => {
    const seen = new Seen()
    const compressor = new Compressor(compress)
    const inflater = inflaters.open(compress, seen)
    write(inflater, await compressor.compress(Buffer.from('first')))
    const second = await compressor.compress(
      Buffer.from('second, long enough to be damaged'.repeat(9)),
    )
    write(inflater, Buffer.concat([Buffer.alloc(40, 0xa5), Buffer.from([0, 0, 0xff, 0xff])]))
    write(inflater, second)
    await until(() => seen.failures.length > 0)
    write(inflater, second)
    inflater.close()
    inflater.close()
    expect(seen.payloads).toEqual(['first'])
    expect(seen.failures).toEqual(['corrupt'])
  })

  test('refuses a payload that inflates beyond the bound', async () => {
    const seen = new Seen()
    const inflater = inflaters.open(compress, seen)
    write(inflater, await new Compressor(compress).compress(Buffer.alloc(BYTES_MAX + 1)))
    await until(() => seen.failures.length > 0)
    expect(seen.failures).toEqual(['oversize'])
    expect(seen.payloads).toEqual([])
  })

  test('survives random bytes in any place', async () => {
    const random = seededRandom(11)
    for (let round = 0; round < 60; round++) {
      const seen = new Seen()
      const inflater = inflaters.open(compress, seen)
      const good = await new Compressor(compress).compress(Buffer.from('payload '.repeat(200)))
      const bad = Buffer.from(good)
      for (let hit = 0; hit < 3; hit++) bad[Math.floor(random() * bad.length)] = random() * 256
      write(inflater, bad)
      write(inflater, good)
      write(inflater, bad)
      await new Promise((resolve) => setImmediate(resolve))
      inflater.close()
      expect(seen.failures.length).toBeLessThanOrEqual(1)
    }
  })
})

test.each([
  ['handle', fast],
  ['stream API', slow],
] as const)(
  'zlib-stream by the %s joins a payload that spans messages',
  async (_way, inflaters) => {
    const seen = new Seen()
    const compressor = new Compressor('zlib-stream')
    const inflater = inflaters.open('zlib-stream', seen)
    for (const text of ['one', 'two'.repeat(500)]) {
      const whole = await compressor.compress(Buffer.from(text))
      for (const byte of whole) write(inflater, Buffer.from([byte]))
    }
    // Single bytes never end with the marker, so the end comes with four.
    expect(seen.payloads).toEqual([])
    const third = await compressor.compress(Buffer.from('three'))
    write(inflater, third.subarray(0, 3))
    write(inflater, third.subarray(3))
    await until(() => seen.payloads.length === 1)
    expect(seen.payloads).toEqual([`one${'two'.repeat(500)}three`])
  },
)

test.each([
  ['handle', fast],
  ['stream API', slow],
] as const)('zstd-stream by the %s reads many complete frames as well', async (_way, inflaters) => {
  const seen = new Seen()
  const inflater = inflaters.open('zstd-stream', seen)
  for (const text of ['one', 'two', 'three'])
    write(inflater, zlib.zstdCompressSync(Buffer.from(text)))
  await until(() => seen.payloads.length === 3 || seen.failures.length > 0)
  expect(seen.payloads).toEqual(['one', 'two', 'three'])
})

test('a zstd window above 8 MiB is refused instead of paid for', async () => {
  const seen = new Seen()
  const inflater = fast.open('zstd-stream', seen)
  const params = { [zlib.constants.ZSTD_c_windowLog]: 25 }
  const stream = zlib.createZstdCompress({ params })
  const chunks: Buffer[] = []
  stream.on('data', (chunk: Buffer) => chunks.push(chunk))
  stream.write(Buffer.alloc(100))
  await new Promise<void>((resolve) => stream.flush(zlib.constants.ZSTD_e_flush, () => resolve()))
  write(inflater, Buffer.concat(chunks))
  expect(seen.failures).toEqual(['corrupt'])
})

test('corrupt input of every length leaves the process alive', () => {
  const source = `
    import { Inflaters } from ${JSON.stringify(new URL('../../src/shard/inflate.ts', import.meta.url).href)}
    const inflaters = new Inflaters(1 << 20)
    let failures = 0
    const sink = { onPayload() {}, onBadFrame() { failures++ } }
    for (const compress of ['zlib-stream', 'zstd-stream']) for (let n = 1; n < 200; n++) {
      const inflater = inflaters.open(compress, sink)
      const bytes = Buffer.alloc(n + 4, n)
      bytes.set([0, 0, 255, 255], n)
      for (let again = 0; again < 3; again++) inflater.write(bytes, 0, bytes.length)
      inflater.close()
      inflater.write(bytes, 0, bytes.length)
    }
    globalThis.gc?.()
    process.stdout.write(failures > 300 ? 'alive' : 'too few failures: ' + failures)
  `
  const args = ['--expose-gc', '--input-type=module', '-e', source]
  expect(execFileSync(process.execPath, args, { encoding: 'utf8' })).toBe('alive')
})

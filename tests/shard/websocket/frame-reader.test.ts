import { createRequire } from 'node:module'
import type { Writable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameReader } from '../../../src/shard/websocket/frame-reader.ts'
import { type FrameParts, serverClose, serverFrame } from './server-frames.ts'

const MESSAGE_BYTES_MAX = 1 << 20

/** What a reader says of a stream, one line for each call. */
class Seen {
  readonly lines: string[] = []
  onMessage(bytes: Buffer, start: number, end: number): void {
    this.lines.push(`message ${bytes.toString('latin1', start, end)}`)
  }
  onPing(bytes: Buffer, start: number, end: number): void {
    this.lines.push(`ping ${bytes.toString('latin1', start, end)}`)
  }
  onCloseFrame(closeCode: number, reason: string): void {
    this.lines.push(`close ${closeCode} ${reason}`)
  }
  onFault(fault: string): void {
    this.lines.push(`fault ${fault}`)
  }
}

/** Feeds the stream in pieces that end at `cuts`; each piece lies in a buffer that is overwritten afterwards. */
function read(stream: Buffer, cuts: readonly number[] = []): string[] {
  const seen = new Seen()
  const reader = new FrameReader(seen, MESSAGE_BYTES_MAX)
  const shared = Buffer.alloc(stream.length + 7)
  let start = 0
  for (const end of [...cuts, stream.length]) {
    shared.fill(0xee)
    stream.copy(shared, 7, start, end)
    reader.read(shared, 7, 7 + end - start)
    start = end
  }
  return seen.lines
}

const bytes = (size: number, value = 0x61): Buffer => Buffer.alloc(size, value)
const data = (payload: Uint8Array, isFinal = true): Buffer =>
  serverFrame({ opcode: 2, payload, isFinal })
const rest = (payload: Uint8Array, isFinal: boolean): Buffer =>
  serverFrame({ opcode: 0, payload, isFinal })
const ping = (text: string): Buffer => serverFrame({ opcode: 9, payload: Buffer.from(text) })

test.each([0, 1, 125, 126, 127, 65_535, 65_536, 200_000])(
  'a message of %i bytes comes whole, however it is cut',
  (size) => {
    const stream = Buffer.concat([data(bytes(size)), data(Buffer.from('next'))])
    const whole = [`message ${'a'.repeat(size)}`, 'message next']
    expect(read(stream)).toEqual(whole)
    for (const cut of [1, 2, 3, 4, 9, 10, 11, size, size + 1, size + 5, size + 11]) {
      if (cut <= stream.length) expect(read(stream, [cut])).toEqual(whole)
    }
  },
)

test('every cut of a stream of all kinds of frames, and single bytes, give the same', () => {
  const stream = Buffer.concat([
    data(Buffer.from('one')),
    data(Buffer.from('fr'), false),
    ping('between'),
    rest(Buffer.from('ag'), false),
    rest(Buffer.alloc(0), false),
    serverFrame({ opcode: 10, payload: Buffer.from('pong') }),
    rest(Buffer.from('ment'), true),
    serverFrame({ opcode: 1, payload: Buffer.from('text é') }),
    data(bytes(300, 0x62)),
    serverFrame({ opcode: 2, payload: Buffer.from('wide'), form: 64 }),
    serverClose(4009, 'Session timed out.'),
    data(Buffer.from('behind the end')),
  ])
  const whole = [
    'message one',
    'ping between',
    'message fragment',
    `message ${Buffer.from('text é').toString('latin1')}`,
    `message ${'b'.repeat(300)}`,
    'message wide',
    'close 4009 Session timed out.',
  ]
  expect(read(stream)).toEqual(whole)
  for (let cut = 1; cut < stream.length; cut++) expect(read(stream, [cut])).toEqual(whole)
  expect(
    read(
      stream,
      Array.from({ length: stream.length - 1 }, (_, index) => index + 1),
    ),
  ).toEqual(whole)
})

describe('what RFC 6455 forbids is a fault, and nothing is said after it', () => {
  test.each<[string, Buffer, string]>([
    ['a masked frame', serverFrame({ opcode: 2, payload: bytes(3), isMasked: true }), 'protocol'],
    ['RSV1', serverFrame({ opcode: 2, payload: bytes(3), rsv: 4 }), 'protocol'],
    ['RSV3', serverFrame({ opcode: 2, payload: bytes(3), rsv: 1 }), 'protocol'],
    ['opcode 3', serverFrame({ opcode: 3, payload: bytes(3) }), 'protocol'],
    ['opcode 11', serverFrame({ opcode: 11, payload: bytes(3) }), 'protocol'],
    [
      'a fragmented ping',
      serverFrame({ opcode: 9, payload: bytes(3), isFinal: false }),
      'protocol',
    ],
    ['a ping of 126 bytes', serverFrame({ opcode: 9, payload: bytes(126) }), 'protocol'],
    ['a continuation of nothing', rest(bytes(3), true), 'protocol'],
    [
      'a message within another',
      Buffer.concat([data(bytes(3), false), data(bytes(3))]),
      'protocol',
    ],
    ['a close of one byte', serverFrame({ opcode: 8, payload: bytes(1) }), 'protocol'],
    ['close code 999', serverClose(999), 'protocol'],
    ['close code 1005', serverClose(1005), 'protocol'],
    ['close code 1006', serverClose(1006), 'protocol'],
    ['close code 2999', serverClose(2999), 'protocol'],
    ['close code 5000', serverClose(5000), 'protocol'],
    ['a close reason that is not UTF-8', serverClose(4000, Buffer.from([0xc3, 0x28])), 'protocol'],
    [
      'a text that is not UTF-8',
      serverFrame({ opcode: 1, payload: Buffer.from([0xc3]) }),
      'protocol',
    ],
    ['a message over the bound', data(bytes(MESSAGE_BYTES_MAX + 1)), 'oversize'],
    [
      'fragments over the bound',
      Buffer.concat([data(bytes(MESSAGE_BYTES_MAX), false), rest(bytes(1), true)]),
      'oversize',
    ],
    ['a length of 2^63', Buffer.from([0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), 'oversize'],
    ['a length of 2^53', Buffer.from([0x82, 127, 0, 0x20, 0, 0, 0, 0, 0, 0]), 'oversize'],
  ])('%s', (_name, stream, fault) => {
    const behind = Buffer.concat([stream, data(Buffer.from('behind'))])
    expect(read(behind)).toEqual([`fault ${fault}`])
    expect(read(behind, [1])).toEqual([`fault ${fault}`])
  })
})

test('a close frame without a code is 1005', () => {
  expect(read(serverFrame({ opcode: 8, payload: Buffer.alloc(0) }))).toEqual(['close 1005 '])
})

test('a length alone allocates nothing of its size', () => {
  const before = process.memoryUsage().arrayBuffers
  const readers = Array.from({ length: 200 }, () => {
    const reader = new FrameReader(new Seen(), 64 << 20)
    const head = Buffer.from([0x82, 127, 0, 0, 0, 0, 3, 0, 0, 0, 0x61])
    reader.read(head, 0, head.length)
    return reader
  })
  expect(readers).toHaveLength(200)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200 * 64 * 1024)
})

interface Receiver extends Writable {
  on(event: string, listener: (...values: never[]) => void): this
}
const { Receiver } = createRequire(import.meta.url)('ws') as {
  readonly Receiver: new (options: object) => Receiver
}

/** The same stream through the receiver of `ws`. */
function readByWs(stream: Buffer): string[] {
  const lines: string[] = []
  const receiver = new Receiver({ maxPayload: MESSAGE_BYTES_MAX, allowSynchronousEvents: true })
  receiver.on('message', (message: Buffer) => {
    lines.push(`message ${message.toString('latin1')}`)
  })
  receiver.on('ping', (payload: Buffer) => {
    lines.push(`ping ${payload.toString('latin1')}`)
  })
  receiver.on('conclude', (closeCode: number, reason: Buffer) => {
    lines.push(`close ${closeCode} ${reason.toString()}`)
  })
  receiver.on('error', () => undefined)
  receiver.write(stream, (error) => {
    if (error === null || error === undefined) return
    const isOversize = 'code' in error && error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH'
    lines.push(`fault ${isOversize ? 'oversize' : 'protocol'}`)
  })
  return lines
}

const frameParts: fc.Arbitrary<FrameParts> = fc.record({
  opcode: fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(0, 0, 1, 2, 2, 2, 9, 10) },
    { weight: 1, arbitrary: fc.nat(15) },
  ),
  payload: fc.oneof(
    { weight: 6, arbitrary: fc.string({ maxLength: 40 }).map((text) => Buffer.from(text)) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 130 }) },
    { weight: 1, arbitrary: fc.nat(70_000).map((size) => Buffer.alloc(size, 0x61)) },
  ),
  isFinal: fc.oneof({ weight: 4, arbitrary: fc.constant(true) }, fc.boolean()),
  rsv: fc.oneof({ weight: 30, arbitrary: fc.constant(0) }, fc.nat(7)),
  isMasked: fc.oneof({ weight: 30, arbitrary: fc.constant(false) }, fc.boolean()),
})

test('random frames, whole and broken, read as the receiver of ws reads them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(frameParts, { minLength: 1, maxLength: 12 }),
      fc.array(fc.nat(200), { maxLength: 6 }),
      async (parts, steps) => {
        const stream = Buffer.concat(parts.map(serverFrame))
        const cuts: number[] = []
        for (const step of steps) {
          const cut = (cuts.at(-1) ?? 0) + step
          if (cut < stream.length) cuts.push(cut)
        }
        const theirs = readByWs(stream)
        // Errors reach the write's callback in a later tick.
        await new Promise((resolve) => setImmediate(resolve))
        expect(read(stream, cuts)).toEqual(theirs)
      },
    ),
    { numRuns: 2000 },
  )
})

test('random bytes never throw and end in a fault, a close or a wait', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), (noise, cut) => {
      const stream = Buffer.from(noise)
      expect(read(stream, cut < stream.length ? [cut] : [])).toEqual(read(stream))
    }),
    { numRuns: 5000 },
  )
})

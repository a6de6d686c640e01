/**
 * Frames that are compressed beforehand and still count up. Compression at run time would make the generator
 * the bottleneck, so only the parts that never change are compressed, and the rest follows in a stored block:
 *
 *   frame   ws head │ deflate: 131 t.. d.. │ 00 00 ff ff │ stored: stamp, op, s, t │ 00 00 00 ff ff
 *
 * Matches never reach into what is patched: the compressor sees placeholders there that occur nowhere else, and
 * a cycle of frames begins with an empty window, so that it can be repeated, or begun anew after a message of
 * another kind. See RFC 1951 §3.2.4 (stored blocks), RFC 8878 §3.1.1.2 (raw blocks).
 */
import { deflateRawSync, constants, zstdCompressSync } from 'node:zlib'
import { createCompressor, frameOf } from '../../sim/index.ts'
import { Atom, encodeTerm } from '../../src/etf/index.ts'
import type { JsonObject } from '../../sim/index.ts'

export type Encoding = 'etf' | 'json'
export type Compression = 'zlib' | 'zstd'

/** Last field of `d`: shard (4 hex digits), sequence (8), send time in µs (12). What the consumer checks. */
export const STAMP_KEY = 'bench'
export const STAMP_CHARS = 24
const STAMP_PLACE = '~^'.repeat(STAMP_CHARS / 2)
/** `s` in ETF: INTEGER_EXT of these four bytes; in JSON ten digits, so that the length never changes. */
const ETF_SEQUENCE_PLACE = 0x7e_5e_7d_5d
const JSON_SEQUENCE_PLACE = 9_876_543_210
export const JSON_SEQUENCE_BASE = 1_000_000_000

const BINARY = 2
const EMPTY_STORED = Buffer.from([0, 0, 0, 0xff, 0xff])
const AS_DISCORD = { keys: 'atom', strings: true } as const
const ZSTD_MAGIC = [0x28, 0xb5, 0x2f, 0xfd]

export interface Event {
  readonly t: string
  readonly d: JsonObject
}

export interface Frame {
  readonly bytes: Buffer
  /** Where `s` and the stamp are patched. */
  readonly sequenceAt: number
  readonly stampAt: number
  /** What it inflates to, unpatched: for the check at start. */
  readonly payloadBytes: number
}

/** The frames of one connection, in the order in which they are repeated. */
export function makeCycle(
  events: readonly Event[],
  encoding: Encoding,
  compression: Compression,
): Frame[] {
  const compressor =
    compression === 'zlib' ? createCompressor('zlib-stream', { level: 6, zstdFrames: false }) : null
  const frames = events.map(({ t, d }, index) => {
    const payload = payloadOf(t, d, encoding)
    const split = payload.lastIndexOf(STAMP_PLACE)
    const [head, tail] = [payload.subarray(0, split), payload.subarray(split)]
    let message: Buffer
    if (compressor === null) {
      message = Buffer.concat([zstdCompressSync(head), rawZstd(tail)])
    } else {
      // Behind the two bytes of the zlib header, which the connection's first message carries.
      const squeezed = Buffer.from(compressor.compress(head).subarray(index === 0 ? 2 : 0))
      compressor.compress(tail)
      message = Buffer.concat([squeezed, stored(tail), EMPTY_STORED])
    }
    const bytes = frameOf(BINARY, message)
    const tailAt = bytes.lastIndexOf(tail)
    return {
      bytes,
      stampAt: tailAt,
      sequenceAt: tailAt + sequenceIn(tail, encoding),
      payloadBytes: payload.length,
    }
  })
  compressor?.close()
  return frames
}

/** Copies the frame to `out` and writes `s` and the stamp. @returns the offset behind it */
export function writeFrame(
  frame: Frame,
  encoding: Encoding,
  out: Buffer,
  pos: number,
  shardId: number,
  sequence: number,
  sentAtUs: number,
): number {
  frame.bytes.copy(out, pos)
  const stampAt = pos + frame.stampAt
  writeHex(out, stampAt, shardId, 4)
  writeHex(out, stampAt + 4, sequence, 8)
  writeHex(out, stampAt + 12, sentAtUs, 12)
  const at = pos + frame.sequenceAt
  if (encoding === 'etf') {
    out[at] = sequence >>> 24
    out[at + 1] = sequence >>> 16
    out[at + 2] = sequence >>> 8
    out[at + 3] = sequence
  } else {
    for (let i = 9, rest = JSON_SEQUENCE_BASE + sequence; i >= 0; i--) {
      out[at + i] = 0x30 + (rest % 10)
      rest = Math.floor(rest / 10)
    }
  }
  return pos + frame.bytes.length
}

/** A message of another kind; it looks nowhere back. @param isFirst of its connection */
export function controlFrame(
  payload: JsonObject,
  encoding: Encoding,
  compression: Compression,
  isFirst: boolean,
): Buffer {
  const bytes =
    encoding === 'etf'
      ? Buffer.from(encodeTerm(payload, AS_DISCORD))
      : Buffer.from(jsonText(payload))
  if (compression === 'zstd') return frameOf(BINARY, zstdCompressSync(bytes))
  const deflated = deflateRawSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH })
  return frameOf(BINARY, isFirst ? Buffer.concat([Buffer.from([0x78, 0x9c]), deflated]) : deflated)
}

function payloadOf(t: string, d: JsonObject, encoding: Encoding): Buffer {
  const stamped = { ...d, [STAMP_KEY]: STAMP_PLACE }
  if (encoding === 'json') {
    return Buffer.from(jsonText({ t, op: 0, d: stamped, s: JSON_SEQUENCE_PLACE }))
  }
  const term = { d: stamped, op: 0, s: ETF_SEQUENCE_PLACE, t: new Atom(t) }
  return Buffer.from(encodeTerm(term, AS_DISCORD))
}

function sequenceIn(tail: Buffer, encoding: Encoding): number {
  if (encoding === 'json') return tail.indexOf(String(JSON_SEQUENCE_PLACE))
  const place = Buffer.alloc(4)
  place.writeInt32BE(ETF_SEQUENCE_PLACE)
  return tail.indexOf(place)
}

/** As Discord's JSON: ids as strings. */
function jsonText(value: unknown): string {
  return JSON.stringify(value, (_, entry: unknown) =>
    typeof entry === 'bigint' ? String(entry) : entry,
  )
}

function stored(bytes: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt16LE(bytes.length, 1)
  head.writeUInt16LE(~bytes.length & 0xffff, 3)
  return Buffer.concat([head, bytes])
}

/** A frame of one raw block: magic, descriptor (single segment, size in one byte), size, block head, bytes. */
function rawZstd(bytes: Buffer): Buffer {
  const block = (bytes.length << 3) | 1
  const head = [...ZSTD_MAGIC, 0x20, bytes.length, block & 0xff, (block >> 8) & 0xff, block >> 16]
  return Buffer.concat([Buffer.from(head), bytes])
}

const HEX = Buffer.from('0123456789abcdef')

function writeHex(out: Buffer, pos: number, value: number, digits: number): void {
  let rest = Math.floor(value)
  for (let i = digits - 1; i >= 0; i--) {
    out[pos + i] = HEX[rest % 16]!
    rest = Math.floor(rest / 16)
  }
}

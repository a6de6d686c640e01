/**
 * The codec against what a user of Node could pick instead: erlpack (C++), JSON.parse, erlang_js. Each loop is a function
 * of its own, so that the engine may optimize each for the one function that it calls.
 */
import { deepStrictEqual, strictEqual } from 'node:assert'
import {
  ByteBuffer,
  decodeTerm,
  encodeTerm,
  Envelope,
  FieldReader,
  scanEnvelope,
  skipTerm,
  termToJson,
} from '../src/etf/index.ts'
import { makePayloads, POSITIONS } from './etf-payloads.ts'
import type { Payload, Position } from './etf-payloads.ts'
import { loadRivals, plainOfErlangJs } from './etf-rivals.ts'
import { readBenchFlags } from './flags.ts'
import { Bench, NO_AIM, timesFaster, underAndNotSlower, withinTimes } from './harness.ts'
import type { Contender } from './harness.ts'

const flags = readBenchFlags(process.argv.slice(2), {
  seconds: 1,
  rounds: 15,
  json: false,
  only: '',
})
const bench = new Bench('etf', flags)
const rivals = loadRivals(process.cwd())
const payloads = makePayloads()

/** Ids of all payloads, as the router of events asks for them. */
const PATHS = ['id', 'guild_id', 'channel_id', 'user.id', 'author.id']
const ALLOCATION_OPERATIONS = 400_000

const parts: Readonly<Record<string, () => Promise<void>>> = {
  envelope: () => each(envelopeRows),
  skip: () => each(skipRows),
  decode: () => each(decodeRows),
  fields: () => each(fieldRows),
  json: () => each(jsonRows),
  encode: encodeRows,
  allocation: () => each(allocationRows),
}
for (const [name, part] of Object.entries(parts)) if (name.includes(flags.only)) await part()
process.exitCode = bench.finish()

async function each(rows: (payload: Payload) => Promise<void>): Promise<void> {
  for (const payload of payloads) await rows(payload)
}

async function envelopeRows(payload: Payload): Promise<void> {
  const skip = skipFrames(payload)
  const scans = POSITIONS.map((position) => scanFrames(payload, position))
  const timings = await bench.measure([skip, ...scans])
  for (const [index, position] of POSITIONS.entries()) {
    const isAtAnEnd = position === 'first' || position === 'last'
    const aim = isAtAnEnd ? underAndNotSlower(100) : timesFaster(1)
    const row = `envelope ${payload.name}, d ${position}`
    bench.compare(row, timings, scans[index]!.name, skip.name, aim)
  }
}

async function skipRows(payload: Payload): Promise<void> {
  const skip = skipFrames(payload)
  const parse = parseBytes(payload)
  const timings = await bench.measure([skip, parse])
  const aim = payload.name === 'MESSAGE_CREATE' ? timesFaster(6) : NO_AIM
  bench.compare(`skipTerm ${payload.name}`, timings, skip.name, parse.name, aim)
}

async function decodeRows(payload: Payload): Promise<void> {
  const ours = decodeFrames(payload)
  const contenders = [
    { rival: unpackFrames(payload), aim: timesFaster(3.5) },
    { rival: parseBytes(payload), aim: timesFaster(1) },
    { rival: parseTexts(payload), aim: NO_AIM },
    { rival: unpackByErlangJs(payload), aim: NO_AIM },
  ]
  const timings = await bench.measure([ours, ...contenders.map(({ rival }) => rival)])
  for (const { rival, aim } of contenders) {
    bench.compare(`decodeTerm ${payload.name}`, timings, ours.name, rival.name, aim)
  }
}

async function fieldRows(payload: Payload): Promise<void> {
  const fields = readFields(payload)
  const skip = skipBodies(payload)
  const timings = await bench.measure([fields, skip])
  bench.compare(
    `${PATHS.length} ids ${payload.name}`,
    timings,
    fields.name,
    skip.name,
    withinTimes(1.3),
  )
}

async function jsonRows(payload: Payload): Promise<void> {
  const ours = transcode(payload)
  const rival = transcodeByValues(payload)
  const timings = await bench.measure([ours, rival])
  bench.compare(`termToJson ${payload.name}`, timings, ours.name, rival.name, timesFaster(2))
}

async function encodeRows(): Promise<void> {
  for (const [name, values] of commands()) {
    const ours = encodeValues(values)
    const rival = packValues(values)
    const timings = await bench.measure([ours, rival])
    bench.compare(`encodeTerm ${name}`, timings, ours.name, rival.name, timesFaster(1))
  }
}

async function allocationRows(payload: Payload): Promise<void> {
  const isLarge = payload.name === 'GUILD_CREATE'
  const contenders = [
    ...POSITIONS.map((position) => scanFrames(payload, position)),
    skipFrames(payload),
    readFields(payload),
  ]
  const control = viewFrames(payload)
  for (const contender of contenders) {
    const walks = isLarge && !/first|last/.test(contender.name)
    const count = walks ? ALLOCATION_OPERATIONS / 100 : ALLOCATION_OPERATIONS
    await bench.allocatesNothing(
      `allocation ${contender.name} ${payload.name}`,
      contender,
      control,
      count,
    )
  }
}

function scanFrames({ name, variants }: Payload, position: Position): Contender {
  const frames = variants.map((variant) => variant.frames[position])
  const envelope = new Envelope()
  return {
    name: `scanEnvelope, d ${position}`,
    check: () => {
      for (const [index, frame] of frames.entries()) {
        strictEqual(scanEnvelope(frame, 0, frame.length, envelope), frame.length)
        strictEqual(envelope.op, 0)
        strictEqual(envelope.sequence, sequenceOf(variants[index]!.text))
        strictEqual(frame.toString('latin1', envelope.nameStart, envelope.nameEnd), name)
        const d = frame.subarray(envelope.dStart, envelope.dEnd)
        strictEqual(d.equals(variants[index]!.d), true)
      }
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === frames.length ? 0 : at + 1) {
        const frame = frames[at]!
        scanEnvelope(frame, 0, frame.length, envelope)
        sum += envelope.sequence + envelope.dStart + envelope.dEnd + envelope.nameEnd
      }
      return sum
    },
  }
}

function skipFrames({ variants }: Payload): Contender {
  const frames = variants.map((variant) => variant.frames.first)
  return {
    name: 'skipTerm',
    check: () => {
      for (const frame of frames) strictEqual(skipTerm(frame, 1, frame.length), frame.length)
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === frames.length ? 0 : at + 1) {
        const frame = frames[at]!
        sum += skipTerm(frame, 1, frame.length)
      }
      return sum
    },
  }
}

function skipBodies({ variants }: Payload): Contender {
  const bodies = variants.map((variant) => variant.d)
  return {
    name: 'skipTerm',
    check: () => {
      for (const body of bodies) strictEqual(skipTerm(body, 0, body.length), body.length)
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === bodies.length ? 0 : at + 1) {
        const body = bodies[at]!
        sum += skipTerm(body, 0, body.length)
      }
      return sum
    },
  }
}

/** The control of the allocation rows: a view of the frame, which is an object. */
function viewFrames({ variants }: Payload): Contender {
  const frames = variants.map((variant) => variant.frames.first)
  return {
    name: 'control: subarray',
    check: () => {},
    run: (count) => {
      let sum = 0
      let kept: Buffer | null = null
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === frames.length ? 0 : at + 1) {
        kept = frames[at]!.subarray(i & 7)
        sum += kept.length
      }
      return sum
    },
  }
}

function readFields({ variants }: Payload): Contender {
  const bodies = variants.map((variant) => variant.d)
  const reader = new FieldReader(PATHS)
  return {
    name: 'FieldReader',
    check: () => {
      for (const [index, body] of bodies.entries()) {
        strictEqual(reader.read(body, 0, body.length), body.length)
        const { d } = JSON.parse(variants[index]!.text) as { d: unknown }
        for (const [slot, path] of PATHS.entries()) {
          const start = reader.starts[slot]!
          // Encoded again, so that the range is proven to be exactly the field's.
          const value = start === -1 ? undefined : decodeRange(body, start, reader.ends[slot]!)
          strictEqual(value, path.split('.').reduce(propertyOf, d))
        }
      }
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === bodies.length ? 0 : at + 1) {
        const body = bodies[at]!
        sum += reader.read(body, 0, body.length) + reader.starts[0]! + reader.ends[3]!
      }
      return sum
    },
  }
}

function decodeFrames({ variants }: Payload): Contender {
  const frames = variants.map((variant) => variant.frames.first)
  return {
    name: 'decodeTerm',
    check: () => {
      for (const [index, frame] of frames.entries()) {
        deepStrictEqual(asText(decodeTerm(frame)), JSON.parse(variants[index]!.text))
      }
    },
    run: (count) => {
      let kept: unknown
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === frames.length ? 0 : at + 1) {
        kept = decodeTerm(frames[at]!)
      }
      return kept
    },
  }
}

function unpackFrames({ variants }: Payload): Contender {
  const frames = variants.map((variant) => variant.frames.first)
  const { unpack } = rivals.erlpack
  return {
    name: 'erlpack.unpack',
    check: () => {
      for (const [index, frame] of frames.entries()) {
        deepStrictEqual(allText(unpack(frame)), allText(JSON.parse(variants[index]!.text)))
      }
    },
    run: (count) => {
      let kept: unknown
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === frames.length ? 0 : at + 1) {
        kept = unpack(frames[at]!)
      }
      return kept
    },
  }
}

function unpackByErlangJs({ variants }: Payload): Contender {
  const frames = variants.map((variant) => variant.frames.first)
  const unpack = rivals.unpackErlangJs
  return {
    name: 'erlang_js.binary_to_term',
    check: () => {
      for (const [index, frame] of frames.entries()) {
        // Its integers are doubles, ids among them, and a list of bytes is text: op and t are compared.
        const { d, ...head } = plainOfErlangJs(unpack(frame)) as Record<string, unknown>
        const expected = JSON.parse(variants[index]!.text) as Record<string, unknown>
        deepStrictEqual({ ...head, d: null }, { ...expected, d: null })
        deepStrictEqual(Object.keys(d as object).sort(), Object.keys(expected['d']!).sort())
      }
    },
    run: (count) => {
      let kept: unknown
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === frames.length ? 0 : at + 1) {
        kept = unpack(frames[at]!)
      }
      return kept
    },
  }
}

function parseTexts({ variants }: Payload): Contender {
  const texts = variants.map((variant) => variant.text)
  return {
    name: 'JSON.parse(text)',
    check: () => {},
    run: (count) => {
      let kept: unknown
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === texts.length ? 0 : at + 1) {
        kept = JSON.parse(texts[at]!)
      }
      return kept
    },
  }
}

function parseBytes({ variants }: Payload): Contender {
  const buffers = variants.map((variant) => variant.jsonBytes)
  return {
    name: 'JSON.parse(buffer.toString())',
    check: () => {},
    run: (count) => {
      let kept: unknown
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === buffers.length ? 0 : at + 1) {
        kept = JSON.parse(buffers[at]!.toString())
      }
      return kept
    },
  }
}

function transcode({ variants }: Payload): Contender {
  const bodies = variants.map((variant) => variant.d)
  const out = new ByteBuffer()
  return {
    name: 'termToJson',
    check: () => {
      for (const [index, body] of bodies.entries()) {
        out.clear()
        termToJson(body, 0, body.length, out)
        const { d } = JSON.parse(variants[index]!.text) as { d: unknown }
        deepStrictEqual(JSON.parse(out.toString()), d)
      }
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === bodies.length ? 0 : at + 1) {
        const body = bodies[at]!
        out.clear()
        termToJson(body, 0, body.length, out)
        sum += out.length
      }
      return sum
    },
  }
}

/** The same by way of values. Ids as text, because JSON.stringify takes no bigint. */
function transcodeByValues({ variants }: Payload): Contender {
  const terms = variants.map((variant) => Buffer.concat([Buffer.of(131), variant.d]))
  const options = { bigints: 'string' } as const
  return {
    name: 'decodeTerm+JSON.stringify+Buffer.from',
    check: () => {
      for (const [index, term] of terms.entries()) {
        const { d } = JSON.parse(variants[index]!.text) as { d: unknown }
        deepStrictEqual(JSON.parse(JSON.stringify(decodeTerm(term, options))), d)
      }
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === terms.length ? 0 : at + 1) {
        sum += Buffer.from(JSON.stringify(decodeTerm(terms[at]!, options))).length
      }
      return sum
    },
  }
}

function encodeValues(values: readonly unknown[]): Contender {
  return {
    name: 'encodeTerm',
    check: () => {
      for (const value of values) deepStrictEqual(decodeTerm(encodeTerm(value)), value)
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === values.length ? 0 : at + 1) {
        sum += encodeTerm(values[at]).length
      }
      return sum
    },
  }
}

function packValues(values: readonly unknown[]): Contender {
  const { pack } = rivals.erlpack
  return {
    name: 'erlpack.pack',
    check: () => {
      for (const value of values) deepStrictEqual(decodeTerm(pack(value)), value)
    },
    run: (count) => {
      let sum = 0
      for (let i = 0, at = 0; i < count; i++, at = at + 1 === values.length ? 0 : at + 1) {
        sum += pack(values[at]).length
      }
      return sum
    },
  }
}

/** What a bot sends: op 2 and op 3. */
function commands(): readonly (readonly [string, readonly unknown[]])[] {
  const presences = Array.from({ length: 16 }, (_, index) => ({
    since: index % 2 === 0 ? null : 1_793_491_200_000 + index,
    activities: [{ name: `with ${index * 37} servers`, type: index % 4, state: null }],
    status: index % 2 === 0 ? 'online' : 'idle',
    afk: index % 2 === 1,
  }))
  const identifies = presences.map((presence, index) => ({
    op: 2,
    d: {
      token: `MTA${index}NzY1NDMyMTA5ODc2NTQzMjE.GabcdE.${'aZ09'.repeat(9)}${index}`,
      properties: { os: 'linux', browser: 'gateway', device: 'gateway' },
      large_threshold: 250,
      shard: [index, 720],
      presence,
      intents: 53_608_447,
    },
  }))
  return [
    ['identify', identifies],
    ['presence update', presences.map((d) => ({ op: 3, d }))],
  ]
}

function sequenceOf(text: string): unknown {
  return (JSON.parse(text) as { s: unknown }).s
}

function decodeRange(bytes: Buffer, start: number, end: number): unknown {
  return asText(decodeTerm(Buffer.concat([Buffer.of(131), bytes.subarray(start, end)])))
}

function propertyOf(value: unknown, name: string): unknown {
  return (value as Record<string, unknown> | undefined)?.[name]
}

/** Bigints as text, as Discord's JSON has them. */
function asText(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'bigint' ? String(inner) : inner,
    ),
  )
}

/** All numbers as text: erlpack gives integers of more than four bytes so, also where others give a number. */
function allText(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, inner: unknown) =>
      typeof inner === 'number' ? String(inner) : inner,
    ),
  )
}

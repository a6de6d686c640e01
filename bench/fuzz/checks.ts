/** Runs every reader over one input and holds them to what docs/etf.md promises. */
import {
  ByteBuffer,
  decodeTerm,
  decodeTermAt,
  editMap,
  encodeTerm,
  Envelope,
  EtfError,
  FieldReader,
  integerAt,
  isNil,
  ListReader,
  MapReader,
  mergeMaps,
  NEED_MORE,
  scanEnvelope,
  skipTerm,
  snowflakeAt,
  snowflakeTextAt,
  termToJson,
  textAt,
  writeSnowflake,
} from '../../src/etf/index.ts'
import type { DecodeOptions, EncodeOptions } from '../../src/etf/index.ts'
import type { Random } from '../../src/base/index.ts'
import { findPair, isPromisedJson, isSame } from './reference.ts'
import { hold, Violation } from './violation.ts'

const VERSION = 131
const COMPRESSED = 80
const MAP_EXT = 116
const ATOM_EXT = 100
const PATHS = ['id', 'd', 'd.id', 'd.user.id', 'd.guild_id', 'op', 's', 't']

/** Outcomes of a reader: this and up to the number of codes are errors. */
const READ = 0
const CUT = 1
const CODES = new Map<string, number>()

/** What a term that can be stepped over may still be refused for when it is read. */
const CODES_OF_CONTENTS = new Set(['ETF_BAD_TERM', 'ETF_LIMIT'])

const ENCODINGS: readonly EncodeOptions[] = [
  {},
  { atoms: 115, keys: 'atom' },
  { atoms: 119, strings: true },
  { keys: 'binary', strings: true },
]
const DECODINGS: readonly DecodeOptions[] = [
  { bigints: 'string' },
  { atoms: 'atom' },
  { binaries: 'bytes' },
]

export class Checks {
  readonly #random: Random
  readonly #out = new ByteBuffer()
  readonly #edited = new ByteBuffer()
  readonly #envelope = new Envelope()
  readonly #fields = new FieldReader(PATHS)
  readonly #map = new MapReader()
  readonly #list = new ListReader()
  readonly #eight = new Uint8Array(8)
  #code = ''
  #value: unknown

  constructor(random: Random) {
    this.#random = random
  }

  /**
   * Checks the payload in `bytes[start, end)`; what stands around it must not matter.
   *
   * @returns a number for how the readers ended: another number is another kind of input.
   * @throws Violation
   */
  run(bytes: Buffer, start: number, end: number): number {
    const from = start + 1
    const scanned = this.#scan(bytes, start, end)
    const scanCode = this.#outcome(scanned, end)
    if (bytes[start] !== VERSION) {
      hold(this.#code === 'ETF_BAD_VERSION', 'a wrong version byte is named', () => this.#code)
      return scanCode
    }
    const skipped = this.#skip(bytes, from, end)
    const skipCode = this.#outcome(skipped, end)
    const isRead = this.#decode(bytes, from, end)
    const decodeCode = isRead ? READ : this.#outcome(null, end)
    const refusal = this.#code
    const value = this.#value
    const fieldsEnd = this.#readFields(bytes, from, end)
    const isJson = this.#transcode(bytes, from, end)
    const jsonCode = isJson ? READ : this.#outcome(null, end)
    hold(isJson === isRead, 'termToJson reads what decodeTerm reads', () => `${isJson}, ${isRead}`)
    if (skipped !== null && skipped >= 0 && fieldsEnd !== null) {
      hold(
        fieldsEnd === skipped,
        'FieldReader ends where skipTerm does',
        () => `${fieldsEnd}, ${skipped}`,
      )
    }
    if (isRead) {
      hold(skipped === end, 'skipTerm ends where decodeTerm does', () => `${skipped}, ${end}`)
      hold(fieldsEnd === end, 'FieldReader reads what decodeTerm reads', () => `${fieldsEnd}`)
      this.#checkJson(value)
      this.#checkValue(bytes, from, end, value)
    } else if (skipped === end && bytes[from] !== COMPRESSED) {
      const isOfContents = CODES_OF_CONTENTS.has(refusal)
      hold(isOfContents, 'what can be skipped fails for its contents only', () => refusal)
    }
    if (skipped === end && bytes[from] !== COMPRESSED) {
      this.#checkWhole(bytes, start, end, scanned, isRead)
    }
    return ((scanCode * 16 + skipCode) * 16 + decodeCode) * 16 + jsonCode
  }

  #checkJson(value: unknown): void {
    const text = this.#out.toString()
    let json: unknown
    try {
      json = JSON.parse(text)
    } catch (error) {
      throw new Violation('termToJson writes JSON', text.slice(0, 200), error)
    }
    hold(isPromisedJson(value, json, false), 'the JSON is that of the value', () =>
      text.slice(0, 200),
    )
  }

  /** What costs more than reading is done for some inputs only. */
  #checkValue(bytes: Buffer, from: number, end: number, value: unknown): void {
    const dice = Math.floor(this.#random() * 24)
    if (dice < ENCODINGS.length) {
      const again = encodeOrNull(value, ENCODINGS[dice]!)
      if (again === null) return
      hold(
        isSame(decodeTerm(again), value),
        'decode, encode, decode is decode',
        () => `way ${dice}`,
      )
    } else if (dice < ENCODINGS.length + DECODINGS.length) {
      const options = DECODINGS[dice - ENCODINGS.length]!
      const other = decodeTermAt(bytes, from, end, options)
      if (options.binaries === undefined) {
        const again = encodeTerm(other)
        // Bigints as text stay text; an Atom comes back as its name.
        const expected = options.atoms === undefined ? other : value
        hold(isSame(decodeTerm(again), expected), 'options keep the value', () => `way ${dice}`)
      } else {
        hold(isSame(decodeTerm(encodeTerm(other)), value), 'bytes are the text', () => '')
      }
    } else if (dice === 8) {
      const copy = new Uint8Array(bytes.subarray(from - 1, end))
      hold(isSame(decodeTerm(copy), value), 'a copy reads the same', () => '')
    } else if (dice === 9 && bytes[from] === MAP_EXT) {
      this.#checkEdits(bytes, from, end, value as Record<string, unknown>)
    }
  }

  #checkEdits(bytes: Buffer, from: number, end: number, value: Record<string, unknown>): void {
    const out = this.#edited
    const read = (): unknown => decodeTermAt(out.bytes, 0, out.length)
    out.clear()
    editMap(bytes, from, end, {}, out)
    hold(out.view().equals(bytes.subarray(from, end)), 'an empty edit copies', () => '')
    out.clear()
    mergeMaps(bytes, from, end, bytes, from, end, out)
    hold(isSame(read(), value), 'a map merged with itself stays', () => '')
    out.clear()
    editMap(bytes, from, end, { drop: ['op', 'id'], set: [['d', NIL_ATOM]] }, out)
    // A key that is a bit string of whole bytes becomes the same name as a text, and edits see texts only.
    if (hasOddKey(this.#map, bytes, from, end)) return
    const { op: _op, id: _id, ...rest } = value
    hold(isSame(read(), { ...rest, d: null }), 'drop and set do just that', () => '')
  }

  /** The term is whole, as skipTerm has it: ranges, cuts and the envelope are held to it. */
  #checkWhole(
    bytes: Buffer,
    start: number,
    end: number,
    scanned: number | null,
    isRead: boolean,
  ): void {
    const from = start + 1
    const cut = from + Math.floor(this.#random() * (end - from))
    hold(
      this.#skip(bytes, from, cut) === NEED_MORE,
      'a cut term needs more',
      () => `at ${cut - start}`,
    )
    if (isRead && this.#random() < 0.1) {
      hold(!this.#decode(bytes, from, cut), 'a cut term is not decoded', () => `at ${cut - start}`)
      hold(
        this.#code === 'ETF_TRUNCATED',
        'a cut term is truncated',
        () => `${this.#code} at ${cut - start}`,
      )
      hold(!this.#transcode(bytes, from, cut), 'a cut term is no JSON', () => `at ${cut - start}`)
      hold(
        this.#code === 'ETF_TRUNCATED',
        'a cut JSON is truncated',
        () => `${this.#code} at ${cut - start}`,
      )
    }
    this.#checkList(bytes, from, end, isRead)
    if (bytes[from] !== MAP_EXT) return
    this.#checkFields(bytes, from, end, isRead)
    this.#checkEnvelope(bytes, from, end, scanned)
  }

  #checkFields(bytes: Buffer, from: number, end: number, isRead: boolean): void {
    this.#readFields(bytes, from, end)
    const { starts, ends } = this.#fields
    const isDeep = this.#random() < 0.25
    for (let slot = 0; slot < PATHS.length; slot++) {
      const path = PATHS[slot]!
      const at = starts[slot]!
      const to = ends[slot]!
      if (isDeep) {
        const pair = findPath(bytes, from, end, path)
        const isFound = pair === null ? at === -1 : at === pair.start && to === pair.end
        hold(isFound, 'FieldReader finds what MapReader finds', () => `${path} ${at}`)
      }
      if (at === -1) continue
      hold(skipTerm(bytes, at, to) === to, 'a field is a term', () => path)
      this.#checkScalar(bytes, at, to, isRead)
    }
  }

  #checkScalar(bytes: Buffer, at: number, to: number, isRead: boolean): void {
    const id = snowflakeAt(bytes, at, to)
    const isWritten = writeSnowflake(bytes, at, to, this.#eight, 0)
    hold(
      isWritten === (id !== null && id < 1n << 63n),
      'writeSnowflake writes what snowflakeAt reads',
      () => `${id}`,
    )
    if (isWritten) {
      const written = Buffer.from(this.#eight).readBigInt64BE()
      hold(written === id, 'eight bytes are the id', () => `${written}, ${id}`)
    }
    const decimals = snowflakeTextAt(bytes, at, to)
    hold(
      decimals === (id === null ? null : String(id)),
      'snowflakeTextAt is snowflakeAt in decimals',
      () => `${decimals}, ${id}`,
    )
    const integer = integerAt(bytes, at, to)
    const text = textAt(bytes, at, to)
    if (!isRead) return
    const value = decodeTermAt(bytes, at, to)
    hold(integer === null || integer === value, 'integerAt is the value', () => `${integer}`)
    if (id !== null) {
      const isIt = typeof value === 'string' ? isIdText(value, id) : BigInt(value as bigint) === id
      hold(isIt, 'snowflakeAt is the value', () => `${id}`)
    }
    hold(text === null || text === value, 'textAt is the value', () => `${text}`)
    hold(!isNil(bytes, at, to) || value === null, 'isNil is null', () => '')
  }

  /** The quick scan against the walk, pair by pair, of somebody else. */
  #checkEnvelope(bytes: Buffer, from: number, end: number, scanned: number | null): void {
    if (scanned === null || scanned === NEED_MORE) return
    const { op, sequence, nameStart, nameEnd, dStart, dEnd } = this.#envelope
    hold(scanned === end, 'the envelope ends where the term does', () => `${scanned}, ${end}`)
    // The scanner does not walk d: if what it took for d is no term, then reading d fails, as it should.
    if (dStart !== -1 && this.#skip(bytes, dStart, dEnd) !== dEnd) return
    const d = findPair(bytes, from, end, 'd')
    hold(
      d === null ? dStart === -1 : dStart === d.start && dEnd === d.end,
      'd is d',
      () => `${dStart}`,
    )
    const found = findPair(bytes, from, end, 'op')
    const isOp = found !== null && integerAt(bytes, found.start, found.end) === op
    hold(isOp, 'op is op', () => `${op}`)
    const s = findPair(bytes, from, end, 's')
    const expected = s === null ? -1 : (integerAt(bytes, s.start, s.end) ?? -1)
    hold(sequence === expected, 's is s', () => `${sequence}, ${expected}`)
    const t = findPair(bytes, from, end, 't')
    const isNone = t === null || isNil(bytes, t.start, t.end)
    const isName = isNone ? nameStart === nameEnd : nameEnd === t.end && nameStart > t.start
    hold(isName, 't is t', () => `${nameStart}, ${nameEnd}`)
  }

  #checkList(bytes: Buffer, from: number, end: number, isRead: boolean): void {
    const list = this.#list
    const isDeep = isRead && this.#random() < 0.25
    const elements: unknown[] = []
    try {
      if (!list.open(bytes, from, end)) return
      while (list.next()) {
        if (isDeep) elements.push(decodeTermAt(list.bytes, list.start, list.end))
      }
    } catch (error) {
      this.#caught(error, 'ListReader')
      hold(!isRead, 'ListReader reads what decodeTerm reads', () => this.#code)
    }
    // A list of no elements is its tail, whatever that is.
    if (!isDeep || elements.length === 0) return
    // What decodeTerm has behind them is the improper tail.
    const values = (decodeTermAt(bytes, from, end) as unknown[]).slice(0, elements.length)
    hold(isSame(elements, values), 'ListReader gives the elements', () => `${elements.length}`)
  }

  #scan(bytes: Buffer, start: number, end: number): number | null {
    try {
      return scanEnvelope(bytes, start, end, this.#envelope)
    } catch (error) {
      return this.#caught(error, 'scanEnvelope')
    }
  }

  #skip(bytes: Buffer, from: number, end: number): number | null {
    try {
      return skipTerm(bytes, from, end)
    } catch (error) {
      return this.#caught(error, 'skipTerm')
    }
  }

  #readFields(bytes: Buffer, from: number, end: number): number | null {
    try {
      return this.#fields.read(bytes, from, end)
    } catch (error) {
      return this.#caught(error, 'FieldReader')
    }
  }

  #decode(bytes: Buffer, from: number, end: number): boolean {
    try {
      this.#value = decodeTermAt(bytes, from, end)
      return true
    } catch (error) {
      this.#caught(error, 'decodeTerm')
      return false
    }
  }

  #transcode(bytes: Buffer, from: number, end: number): boolean {
    this.#out.clear()
    try {
      termToJson(bytes, from, end, this.#out)
      return true
    } catch (error) {
      this.#caught(error, 'termToJson')
      hold(this.#out.length === 0, 'termToJson takes back what it wrote', () => '')
      return false
    }
  }

  #caught(error: unknown, reader: string): null {
    if (!(error instanceof EtfError)) {
      throw new Violation(`only EtfError leaves ${reader}`, String(error), error)
    }
    this.#code = error.code
    return null
  }

  #outcome(result: number | null, end: number): number {
    if (result === NEED_MORE) return CUT
    if (result !== null) return result === end ? READ : 15
    const known = CODES.get(this.#code)
    if (known !== undefined) return known
    CODES.set(this.#code, CODES.size + 2)
    return CODES.size + 1
  }
}

const NIL_ATOM = Uint8Array.of(ATOM_EXT, 0, 3, 0x6e, 0x69, 0x6c)

/** Null where a key is too long for the atom that the options make of it. */
function encodeOrNull(value: unknown, options: EncodeOptions): Uint8Array | null {
  try {
    return encodeTerm(value, options)
  } catch (error) {
    if (options.keys === 'atom' && error instanceof EtfError && error.code === 'ETF_LIMIT')
      return null
    throw error
  }
}

/** Decimal text of an id, of up to 20 digits, zeros in front allowed. */
function isIdText(text: string, id: bigint): boolean {
  return /^\d{1,20}$/.test(text) && BigInt(text) === id
}

function hasOddKey(map: MapReader, bytes: Buffer, start: number, end: number): boolean {
  map.open(bytes, start, end)
  while (map.next()) if (!map.isTextKey) return true
  return false
}

function findPath(
  bytes: Buffer,
  start: number,
  end: number,
  path: string,
): { readonly start: number; readonly end: number } | null {
  let range: { readonly start: number; readonly end: number } | null = { start, end }
  for (const name of path.split('.')) {
    range = range === null ? null : findPair(bytes, range.start, range.end, name)
  }
  return range
}

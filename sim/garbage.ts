/** Payloads that are none: what a client must survive without harm to its process or its other shards. */
const LIST_EXT = 108
const MAP_EXT = 116
const BINARY_EXT = 109
const NIL_EXT = 106
const COMPRESSED = 80
const DEPTH = 100_000
const NAME_BYTES = 1024 * 1024

export const GARBAGE = {
  'unknown-tag': 'd starts with a tag that does not exist',
  truncated: 'the payload ends in the middle',
  'huge-list': 'd is a list that claims 2^32-1 elements',
  'huge-map': 'd is a map that claims 2^32-1 pairs',
  'huge-binary': 'd is a binary that claims 2^32-1 bytes',
  'huge-name': 't is a name of 1 MiB',
  deep: 'd is 100,000 lists in one another',
  'bad-version': 'the first byte is not 131',
  'not-a-map': 'the payload is an integer',
  bomb: 'd is a compressed term that claims 4 GiB',
  empty: 'a message of no bytes',
} as const
export type GarbageKind = keyof typeof GARBAGE

/** The payload, before compression. */
export function garbage(kind: GarbageKind, encoding: 'etf' | 'json', sequence: number): Buffer {
  if (kind === 'empty') return Buffer.alloc(0)
  return encoding === 'etf' ? etfGarbage(kind, sequence) : jsonGarbage(kind, sequence)
}

function etfGarbage(kind: Exclude<GarbageKind, 'empty'>, sequence: number): Buffer {
  const claim = [0xff, 0xff, 0xff, 0xff]
  switch (kind) {
    case 'unknown-tag':
      return dispatchOf(Buffer.from([0xfe, 0, 0, 0, 0]), sequence)
    case 'truncated': {
      const whole = dispatchOf(binary('cut '.repeat(64)), sequence)
      return whole.subarray(0, whole.length >> 1)
    }
    case 'huge-list':
      return dispatchOf(Buffer.from([LIST_EXT, ...claim, 97, 1, NIL_EXT]), sequence)
    case 'huge-map':
      return dispatchOf(Buffer.from([MAP_EXT, ...claim, 97, 1, 97, 2]), sequence)
    case 'huge-binary':
      return dispatchOf(Buffer.from([BINARY_EXT, ...claim, 0x61]), sequence)
    case 'huge-name':
      return dispatchOf(
        Buffer.from([MAP_EXT, 0, 0, 0, 0]),
        sequence,
        binary('N'.repeat(NAME_BYTES)),
      )
    case 'deep': {
      const opened = Buffer.alloc(DEPTH * 5)
      for (let depth = 0; depth < DEPTH; depth++) opened.set([LIST_EXT, 0, 0, 0, 1], depth * 5)
      const closed = Buffer.alloc(DEPTH + 1, NIL_EXT)
      return dispatchOf(Buffer.concat([opened, closed]), sequence)
    }
    case 'bad-version': {
      const whole = dispatchOf(Buffer.from([NIL_EXT]), sequence)
      whole[0] = 130
      return whole
    }
    case 'not-a-map':
      return Buffer.from([131, 97, 7])
    case 'bomb':
      return dispatchOf(
        Buffer.from([COMPRESSED, ...claim, 0x78, 0x9c, 0x03, 0, 0, 0, 0, 1]),
        sequence,
      )
  }
}

/** 131 | MAP 4 | d | op 0 | s | t, keys as ATOM_EXT, as Discord sends it. */
function dispatchOf(d: Buffer, sequence: number, name: Buffer = atom('GARBAGE')): Buffer {
  const s = Buffer.alloc(5)
  s[0] = 98
  s.writeInt32BE(sequence, 1)
  return Buffer.concat([
    Buffer.from([131, MAP_EXT, 0, 0, 0, 4]),
    atom('d'),
    d,
    atom('op'),
    Buffer.from([97, 0]),
    atom('s'),
    s,
    atom('t'),
    name,
  ])
}

function atom(name: string): Buffer {
  return Buffer.concat([Buffer.from([100, 0, name.length]), Buffer.from(name, 'latin1')])
}

function binary(text: string): Buffer {
  const head = Buffer.alloc(5)
  head[0] = BINARY_EXT
  head.writeUInt32BE(Buffer.byteLength(text), 1)
  return Buffer.concat([head, Buffer.from(text)])
}

function jsonGarbage(kind: Exclude<GarbageKind, 'empty'>, sequence: number): Buffer {
  const around = (d: string, t = 'GARBAGE'): string =>
    `{"t":"${t}","s":${sequence},"op":0,"d":${d}}`
  switch (kind) {
    case 'deep':
      return Buffer.from(around('['.repeat(DEPTH) + ']'.repeat(DEPTH)))
    case 'huge-name':
      return Buffer.from(around('{}', 'N'.repeat(NAME_BYTES)))
    case 'not-a-map':
      return Buffer.from('7')
    case 'truncated':
      return Buffer.from(around(`"${'cut '.repeat(64)}"`)).subarray(0, 100)
    default:
      return Buffer.from(around('{"huge":\u0000'))
  }
}

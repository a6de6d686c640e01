import { BaseError } from '../base/index.ts'

export const ETF_ERRORS = {
  ETF_BAD_VERSION:
    'The bytes do not begin with 131, the version byte of the External Term Format: they are JSON, compressed, or not from Erlang. Check the encoding of the connection or queue.',
  ETF_UNKNOWN_TAG:
    'A term begins with a byte that is no tag of the format. The bytes are damaged, or the reader began at a wrong offset. Distribution headers, atom cache references and LOCAL_EXT are refused with this code too.',
  ETF_TOO_DEEP:
    'A term is nested deeper than the limit of this reader or writer (2,048 levels), which nothing that Discord sends comes near.',
  ETF_TRUNCATED:
    'A term ends before its length says so. The frame was cut, or a length in it is damaged.',
  ETF_TRAILING_BYTES:
    'Bytes are left behind a term that was announced as the only one. Give decodeTerm exactly one term.',
  ETF_BAD_TERM:
    'A tag is followed by something that it cannot hold: a float that is not finite, an atom that is not text, a compressed term that does not inflate. The bytes are damaged.',
  ETF_BAD_ENVELOPE:
    'A gateway payload is not a map with an integer `op`, an integer or absent `s` and a textual or absent `t`.',
  ETF_LIMIT:
    'A part of a term is larger than the limit for it (atoms, event names, big integers, inflated size, output size). docs/etf.md lists the limits.',
  ETF_BAD_VALUE:
    'A JavaScript value has no external term: a function, a symbol, a number that is not finite. Leave it out or convert it.',
} as const

/** Malformed External Term Format. The scanners return NEED_MORE for truncation instead. */
export class EtfError extends BaseError<keyof typeof ETF_ERRORS> {
  override readonly name = 'EtfError'
}

export function unknownTag(tag: number, offset: number): EtfError {
  const why =
    tag === 80
      ? 'a compressed term (80) may only stand directly behind the version byte'
      : tag === 121
        ? 'LOCAL_EXT (121) has a meaning only inside the node that wrote it'
        : tag === 82
          ? `ATOM_CACHE_REF (82) needs a distribution channel's atom cache`
          : tag === 68 || tag === 69
            ? `a distribution header (${tag}) is not a term`
            : `byte ${tag} is no tag of the External Term Format`
  return new EtfError(
    'ETF_UNKNOWN_TAG',
    `At offset ${offset} ${why}; close the connection and resume.`,
    {
      tag,
      offset,
    },
  )
}

export function truncated(offset: number): EtfError {
  return new EtfError(
    'ETF_TRUNCATED',
    `The bytes end at offset ${offset} in the middle of a term; the frame was cut or a length in it is damaged.`,
    { offset },
  )
}

export function trailing(offset: number, end: number): EtfError {
  return new EtfError(
    'ETF_TRAILING_BYTES',
    `The term ends at offset ${offset}, ${end - offset} bytes before the end; give exactly one term.`,
    { offset },
  )
}

export function badVersion(byte: number, offset: number): EtfError {
  return new EtfError(
    'ETF_BAD_VERSION',
    `The bytes begin with ${byte} instead of 131, so they are not the External Term Format; check the encoding.`,
    { tag: byte, offset },
  )
}

export function tooDeep(tag: number, offset: number, levelsMax: number): EtfError {
  return new EtfError(
    'ETF_TOO_DEEP',
    `The term at offset ${offset} is nested deeper than ${levelsMax} levels; nothing that Discord sends is.`,
    { tag, offset, levelsMax },
  )
}

export function badTerm(tag: number, offset: number, why: string): EtfError {
  return new EtfError('ETF_BAD_TERM', `The term at offset ${offset} (tag ${tag}) ${why}.`, {
    tag,
    offset,
  })
}

export function beyondLimit(
  tag: number,
  offset: number,
  what: string,
  bytes: number,
  bytesMax: number,
): EtfError {
  return new EtfError(
    'ETF_LIMIT',
    `${what} at offset ${offset} (tag ${tag}) has ${bytes} bytes, the limit is ${bytesMax}.`,
    { tag, offset, bytes, bytesMax },
  )
}

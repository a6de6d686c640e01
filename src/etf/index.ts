/**
 * A codec for Erlang's External Term Format as Discord's gateway speaks it: find the envelope, skip, read
 * fields, decode, encode, transcode to JSON, edit. docs/etf.md is its manual.
 */
export { ByteBuffer } from './byte-buffer.ts'
export { decodeTerm, decodeTermAt } from './decode.ts'
export type { DecodeOptions } from './decode.ts'
export { editMap, mergeMaps } from './edit.ts'
export type { MapEdit } from './edit.ts'
export { Atom, encodeTerm, writeTerm } from './encode.ts'
export type { EncodeOptions } from './encode.ts'
export type { ElementRanges } from './element-ranges.ts'
export { Envelope, scanEnvelope } from './envelope.ts'
export { ETF_ERRORS, EtfError } from './errors.ts'
export { FieldReader } from './field-reader.ts'
export { termToJson } from './json.ts'
export type { JsonOptions } from './json.ts'
export { DEPTH_MAX, EVENT_NAME_BYTES_MAX, INFLATED_BYTES_MAX, NEED_MORE } from './limits.ts'
export { ListReader } from './list-reader.ts'
export { MapReader } from './map-reader.ts'
export { NameTable } from './name-table.ts'
export {
  integerAt,
  isFalse,
  isNil,
  isTrue,
  snowflakeAt,
  snowflakeTextAt,
  textAt,
  writeSnowflake,
} from './scalar.ts'
export { skipTerm } from './skip.ts'

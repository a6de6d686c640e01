/**
 * What can be put on the wire: JSON's values, and bigint for snowflakes. JSON shows a bigint as a string,
 * ETF as SMALL_BIG_EXT.
 */
export type WireValue = null | boolean | number | string | bigint | readonly WireValue[] | WireMap

export interface WireMap {
  readonly [key: string]: WireValue
}

export function isWireMap(value: WireValue | undefined): value is WireMap {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** JSON text as Discord writes it: snowflakes as strings. */
export function toJson(value: WireValue): string {
  return JSON.stringify(value, (_key, entry: unknown) =>
    typeof entry === 'bigint' ? entry.toString() : entry,
  )
}

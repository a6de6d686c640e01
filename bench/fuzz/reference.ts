/** What the checks hold the codec to, said by other means than the codec's own. */
import { MapReader } from '../../src/etf/index.ts'

/** Whether two decoded values are the same; 0 and -0 are, because the external format of integers has one zero. */
export function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (Array.isArray(a)) {
    if (!Array.isArray(b) || a.length !== b.length) return false
    for (let i = 0; i < a.length; i++) if (!isSame(a[i], b[i])) return false
    return true
  }
  const keys = Object.keys(a)
  if (Array.isArray(b) || keys.length !== Object.keys(b).length) return false
  for (const key of keys) {
    if (!Object.hasOwn(b, key) || !isSame(propertyOf(a, key), propertyOf(b, key))) return false
  }
  return true
}

/** Whether `json`, as JSON.parse gave it, is what docs/etf.md promises for a decoded value. */
export function isPromisedJson(value: unknown, json: unknown, isIdKey: boolean): boolean {
  if (typeof value === 'bigint') return json === String(value)
  if (typeof value === 'number') {
    const size = Math.abs(value)
    const isId = isIdKey && Number.isInteger(value) && size >= 2 ** 32 && size < 2 ** 64
    return isId ? json === String(BigInt(value)) : json === value
  }
  if (typeof value !== 'object' || value === null) return json === value
  if (typeof json !== 'object' || json === null) return false
  if (Array.isArray(value)) {
    if (!Array.isArray(json) || json.length !== value.length) return false
    for (let i = 0; i < value.length; i++)
      if (!isPromisedJson(value[i], json[i], false)) return false
    return true
  }
  const keys = Object.keys(value)
  if (Array.isArray(json) || keys.length !== Object.keys(json).length) return false
  for (const key of keys) {
    const isId = key === 'id' || key.endsWith('_id')
    if (!Object.hasOwn(json, key)) return false
    if (!isPromisedJson(propertyOf(value, key), propertyOf(json, key), isId)) return false
  }
  return true
}

function propertyOf(object: object, key: string): unknown {
  return (object as Record<string, unknown>)[key]
}

const reader = new MapReader()

/** Range of the last pair with a key, walked pair by pair; null when there is none or it is no map. */
export function findPair(
  bytes: Buffer,
  start: number,
  end: number,
  name: string,
): { readonly start: number; readonly end: number } | null {
  let found: { start: number; end: number } | null = null
  if (!reader.open(bytes, start, end)) return null
  while (reader.next()) {
    if (!reader.isTextKey) continue
    if (bytes.toString('latin1', reader.keyStart, reader.keyEnd) === name) {
      found = { start: reader.valueStart, end: reader.valueEnd }
    }
  }
  return found
}

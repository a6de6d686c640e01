/**
 * What Discord's JSON would show of a term: an integer above 2^53 - 1, and one of 2^32 and more under the key
 * `id` or `*_id`, as a string; other numbers as numbers. NUL is left out of texts, as Postgres' jsonb has none.
 */
import type { Value } from './etf-term.ts'

export type Json = null | boolean | number | string | readonly Json[] | JsonMap

export interface JsonMap {
  readonly [key: string]: Json
}

function jsonForm(value: Value, key = ''): Json {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value === 'string') return value.replaceAll('\0', '')
  if (typeof value === 'number') {
    const isId = key === 'id' || key.endsWith('_id')
    return isId && Number.isInteger(value) && value >= 2 ** 32 ? String(value) : value
  }
  if (Array.isArray(value)) return value.map((entry: Value) => jsonForm(entry))
  if (value !== null && typeof value === 'object') {
    const map = value as { readonly [key: string]: Value }
    return Object.fromEntries(
      Object.entries(map).map(([name, entry]) => [name, jsonForm(entry, name)]),
    )
  }
  return value as null | boolean
}

export function jsonMap(value: Value): JsonMap {
  const form = jsonForm(value)
  if (form === null || typeof form !== 'object' || Array.isArray(form)) {
    throw new RangeError('The payload of an event is not a map')
  }
  return form as JsonMap
}

/** An id, a name or a number as text. */
export function textOf(value: Value | undefined): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'bigint') return value.toString()
  throw new RangeError(`Not an id or a name: ${JSON.stringify(value)}`)
}

/** The first place where two values differ, as a path; null when they are equal. Keys have no order. */
export function firstDifference(
  a: Json | undefined,
  b: Json | undefined,
  path = '',
): string | null {
  if (a === b) return null
  if (a === null || b === null || typeof a !== 'object' || typeof b !== 'object') return path || '.'
  if (Array.isArray(a) !== Array.isArray(b)) return path || '.'
  const left = a as { readonly [key: string]: Json }
  const right = b as { readonly [key: string]: Json }
  for (const key of new Set([...Object.keys(left), ...Object.keys(right)])) {
    if (Object.hasOwn(left, key) !== Object.hasOwn(right, key)) return `${path}.${key}`
    const difference = firstDifference(left[key], right[key], `${path}.${key}`)
    if (difference !== null) return difference
  }
  return null
}
